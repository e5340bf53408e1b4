// SPDX-License-Identifier: Apache-2.0
/** Which keys a side uses for its next connection, and when plaintext will do. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkLinkTrust, isLoopback } from '../../src/vm/link-trust.ts';
import { Trust } from '../../src/wire/trust.ts';
import { tempAuthority } from '../lib/keyed-links.ts';

const trust = suite('trust');

trust('new files are used for the next connection, once all fit', () => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-trust-'));
  const at = (file: string): string => join(dir, `${file}.pem`);
  const first = tempAuthority().issue('shop', 'primary');
  cpSync(first, dir, { recursive: true });
  const told: string[] = [];
  const it = new Trust({
    files: { ca: at('ca'), cert: at('cert'), key: at('key'), crl: null },
    vm: 'shop',
    side: 'primary',
    onError: (reason) => told.push(reason),
  });
  const { keys, peerName } = it.towards('backup');
  assert.is(peerName, 'understudy://vm/shop/backup');
  assert.is(it.towards('backup').keys, keys, 'nothing has changed');

  const next = tempAuthority().issue('shop', 'primary');
  const steps = ['cert', 'key', 'ca'].map((file) => {
    cpSync(join(next, `${file}.pem`), at(file));
    return [it.towards('backup').keys === keys, it.towards('backup').keys === keys, told.length];
  });
  assert.equal(steps, [
    [true, true, 1],
    [true, true, 2],
    [false, false, 2],
  ]);
  assert.match(told[0] ?? '', /^the keys before are used: .*not the key of the certificate/);
  assert.match(told[1] ?? '', /is not of a CA that is trusted here/);
  const renewed = it.towards('backup').keys;
  rmSync(dir, { recursive: true });
  assert.is(it.towards('backup').keys, renewed, 'they are gone');
  assert.is(told.length, 3);
  writeFileSync(dir, '');
  assert.is(it.towards('backup').keys, renewed, 'their folder is none any more');
  assert.is(told.length, 4);
  rmSync(dir);
});

trust('loopback is what its words say, whatever a name leads to today', () => {
  for (const host of ['127.0.0.1', '127.8.0.1', '::1', 'localhost']) assert.ok(isLoopback(host));
  for (const host of ['10.0.0.1', '0.0.0.0', '::', 'localhost.example', '127.0.0.1.example', 'a']) {
    assert.not(isLoopback(host), host);
  }
});

trust('plaintext is refused by the address that others reach, unless it is asked for', () => {
  const near = { host: '127.0.0.1', port: 1 };
  const far = { host: '10.0.0.2', port: 1 };
  const check = (more: { tls?: true; insecure?: true }, backup: typeof near | null): void => {
    const files = { ca: 'a', cert: 'b', key: 'c', crl: null };
    const link = {
      tls: more.tls === true ? files : null,
      insecurePlaintext: more.insecure === true,
    };
    checkLinkTrust(link, { 'replication.primary': near, 'replication.backup': backup }, 'VM.toml');
  };
  check({}, null);
  check({}, near);
  check({ tls: true }, far);
  check({ insecure: true }, far);
  assert.throws(
    () => check({}, far),
    /^VM.toml: replication.backup is 10.0.0.2, .*understudy keys/,
  );
});

trust.run();
