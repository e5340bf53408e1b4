// SPDX-License-Identifier: Apache-2.0
/** What `understudy replica` refuses before it takes anything, by name. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command } from '../lib/command.ts';

const dir = mkdtempSync(join(tmpdir(), 'us-replica-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

function refused(verb: string, replication: string, ...options: string[]): string {
  const file = join(dir, 'VM.toml');
  writeFileSync(join(dir, 'k'), '');
  writeFileSync(file, `name = "a"\nkernel = "k"\n[replication]\n${replication}\n`);
  try {
    execFileSync(process.execPath, [command, verb, file, ...options], {
      env: { ...process.env, UNDERSTUDY_STATE_DIR: join(dir, 'state'), NO_COLOR: '1' },
      stdio: 'pipe',
    });
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: Buffer };
    assert.is(status, 2, stderr.toString());
    return stderr.toString();
  }
  throw new Error('it was taken');
}

const three = (...hosts: string[]): string =>
  `protocol = "quorum"\nreplicas = [${hosts.map((host) => `"${host}"`).join(', ')}]`;

const replica = suite('understudy replica');

replica("a pair's VM is none of replicas, and the other way round", () => {
  const pair = 'primary = "127.0.0.1:7700"';
  assert.match(
    refused('replica', pair),
    /protocol = "lockstep" there is no replica: start `understudy primary`/,
  );
  const replicas = three('127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3');
  assert.match(
    refused('primary', replicas),
    /protocol = "quorum" there is no primary: start `understudy replica`/,
  );
});

replica('which of them this one is must be known', () => {
  const here = three('127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3');
  assert.match(refused('replica', here), /several of replication\.replicas .*--address/);
  assert.match(
    refused('replica', here, '--address', '127.0.0.1:4'),
    /none of .* is 127\.0\.0\.1:4/,
  );
  const away = three('203.0.113.1:1', '203.0.113.2:1', '203.0.113.3:1');
  assert.match(refused('replica', away), /is an address of this host/);
  assert.match(refused('replica', here, '--address', 'x'), /It must be HOST:PORT/);
});

replica('what others could read is refused without keys', () => {
  const away = three('203.0.113.1:1', '203.0.113.2:1', '127.0.0.1:1');
  assert.match(refused('replica', away), /replication\.replicas\[0\] is 203\.0\.113\.1/);
});

replica.run();
