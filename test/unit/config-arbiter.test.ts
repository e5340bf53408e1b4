// SPDX-License-Identifier: Apache-2.0
/** What VM.toml may say of the arbiter and of helpers, and what of it is refused. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { parseConfig, type ReplicationConfig } from '../../src/vm/config.ts';

const config = suite('VM.toml: arbiter and helpers');

function replication(lines: string): ReplicationConfig {
  const text = `name = "x"\nkernel = "k"\n[replication]\nprimary = "127.0.0.1:1"\n${lines}\n`;
  const { replication: read } = parseConfig(text, '/srv/VM.toml');
  if (read === null) throw new Error('there is a table');
  return read;
}

function refusal(lines: string): string {
  try {
    replication(lines);
  } catch (error) {
    assert.instance(error, UnderstudyError);
    assert.is((error as UnderstudyError).exitCode, 2);
    return (error as Error).message;
  }
  return '';
}

config('etcd: members, files beside VM.toml, a user', () => {
  const read = replication(`arbiter = "etcd:https://a:2379,https://b:2379"
[replication.etcd]
ca = "ca.pem"
cert = "/etc/host.pem"
key = "host.key"
user = "daemon"
password_file = "password"`);
  assert.is(read.arbiter, 'etcd:https://a:2379,https://b:2379');
  assert.equal(read.arbiterAccess, {
    ca: '/srv/ca.pem',
    cert: '/etc/host.pem',
    key: '/srv/host.key',
    user: 'daemon',
    passwordFile: '/srv/password',
    prefix: '/understudy/',
    insecurePlaintext: false,
  });
});

config('what is half said, or plain where it must not be, is refused', () => {
  for (const [lines, why] of [
    ['arbiter = "etcd:a:2379"', /replication\.arbiter: "a:2379" must be https:\/\/HOST:PORT/],
    ['arbiter = "etcd:http://a:1"', /plain HTTP to another host: .*insecure_plaintext = true/],
    ['arbiter = "zk:a"', /must be "dir:PATH" or "etcd:https:\/\/HOST:2379,/],
    ['[replication.etcd]\ncert = "a"', /both cert and key, or neither/],
    ['[replication.etcd]\nuser = "a"', /both user and password_file, or neither/],
    ['[replication.etcd]\nsecret = "a"', /unknown key "secret"/],
    ['helper_timeout_s = 0', /must be a whole number from 1 to 3600/],
    ['on_failover = "/bin/true"', /must be a list of text: a program and its arguments/],
    ['on_failover = ["true"]', /must begin with the absolute path of a program/],
  ] as const) {
    assert.match(refusal(lines), why, lines);
  }
  const plain = 'arbiter = "etcd:http://a:1"\n[replication.etcd]\ninsecure_plaintext = true';
  assert.is(refusal(plain), '');
});

config('helpers are a program and its words', () => {
  const read = replication('fence_command = ["/sbin/fence", "a b"]\nhelper_timeout_s = 5');
  assert.equal(
    [read.fenceCommand, read.onFailover, read.helperTimeoutS],
    [['/sbin/fence', 'a b'], null, 5],
  );
  assert.is(replication('').helperTimeoutS, 30);
});

config.run();
