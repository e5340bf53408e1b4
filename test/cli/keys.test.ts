// SPDX-License-Identifier: Apache-2.0
/** `understudy keys`, and a pair's daemons with what it makes: who is refused, in which words. */
import { chmodSync, cpSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../bench/stand-ins/courier.ts';
import { Link } from '../../native/kvm-exit-log/index.ts';
import { type Ended, run, runJson, scratch } from '../lib/command.ts';
import { FakeVmPair, isAlive, sleep } from '../lib/fake-vm-pair.ts';
import { keysIn, securityOf } from '../lib/keyed-links.ts';
import { goodbye, Told } from '../lib/told.ts';

interface Issued {
  readonly name: string;
  readonly serial: string;
  readonly state: string;
  readonly folder: string | null;
}

const root = scratch('keys');
let made = 0;

/** A CA of a test's own. */
class Ca {
  readonly dir = join(root, `ca${++made}`);

  static async make(): Promise<Ca> {
    const ca = new Ca();
    assert.is((await ca.run('init')).code, 0);
    return ca;
  }

  run(...words: string[]): Promise<Ended> {
    return run(['keys', ...words, '--dir', this.dir]);
  }

  async issued(): Promise<readonly Issued[]> {
    const { json } = await runJson(['keys', 'show', '--dir', this.dir]);
    return json.issued as Issued[];
  }

  /** New keys of a side, put where VM.toml of that host looks for them. */
  async give(pair: FakeVmPair, host: Side, as: { vm?: string; side?: Side; days?: number } = {}) {
    const { vm = pair.name, side = host, days = 30 } = as;
    const words = ['issue', vm, '--side', side, '--days', String(days)];
    const { code, stderr } = await this.run(...words);
    assert.is(code, 0, stderr);
    place(join(this.dir, `${vm}-${side}`), pair, host);
  }
}

type Side = 'primary' | 'backup';
const SIDES = ['primary', 'backup'] as const;

/** All at one moment, as an operator would. */
function place(folder: string, pair: FakeVmPair, host: Side): void {
  const at = join(pair.dir, host, 'tls');
  rmSync(`${at}.new`, { recursive: true, force: true });
  cpSync(folder, `${at}.new`, { recursive: true });
  rmSync(at, { recursive: true, force: true });
  renameSync(`${at}.new`, at);
}

const TLS =
  '[replication.tls]\nca = "tls/ca.pem"\ncert = "tls/cert.pem"\nkey = "tls/key.pem"\n' +
  'crl = "tls/crl.pem"';

const pairs: FakeVmPair[] = [];

async function pairWithKeys(ca: Ca): Promise<FakeVmPair> {
  const pair = await FakeVmPair.make(TLS);
  pairs.push(pair);
  for (const side of SIDES) await ca.give(pair, side);
  return pair;
}

const keys = suite('keys');

keys('a folder is named from where one is, too', async () => {
  const ca = await Ca.make();
  const from = { cwd: dirname(ca.dir) };
  const { code, stderr } = await run(['keys', 'issue', 'shop', '--dir', basename(ca.dir)], from);
  assert.is(code, 0, stderr);
  assert.is((await ca.issued()).length, 2);
});

keys('init, issue, revoke, show: a CA that only its owner can read', async () => {
  const ca = await Ca.make();
  assert.is((await ca.run('init')).code, 1, 'it is not overwritten');
  assert.match((await ca.run('issue', 'shop')).stderr, /cert = "tls\/cert.pem"/);
  assert.equal(readdirSync(join(ca.dir, 'shop-backup')).sort(), [
    'ca.pem',
    'cert.pem',
    'crl.pem',
    'key.pem',
  ]);
  const others = (path: string): number => statSync(path).mode & 0o077;
  for (const name of readdirSync(ca.dir, { recursive: true, encoding: 'utf8' })) {
    assert.is(others(join(ca.dir, name)), 0, name);
  }
  assert.is(others(ca.dir), 0);
  assert.is((await ca.run('issue', 'shop', '--side', 'backup')).code, 0);
  const issued = await ca.issued();
  assert.equal(
    issued.map(({ name, state, folder }) => [name, state, folder !== null]),
    [
      ['understudy://vm/shop/primary', 'valid', true],
      ['understudy://vm/shop/backup', 'valid', false],
      ['understudy://vm/shop/backup', 'valid', true],
    ],
  );
  const { stderr } = await ca.run('revoke', issued[1]?.serial ?? '');
  assert.match(stderr, /^revoked [0-9A-F]+ of understudy:\/\/vm\/shop\/backup/);
  assert.equal(
    (await ca.issued()).map(({ state }) => state),
    ['valid', 'revoked', 'valid'],
  );
  assert.match((await ca.run('show')).stdout, /shop\/backup revoked, until 20/);
});

keys('what cannot be done is refused, each with its code', async () => {
  const ca = await Ca.make();
  for (const [code, words, message] of [
    [2, ['issue', 'no/name'], /no\/name: must be letters/],
    [2, ['issue', 'shop', '--side', 'left'], /It must be primary or backup/],
    [2, ['revoke', '12'], /no certificate with the serial number 12/],
    [2, ['renew'], /unknown command/],
  ] as const) {
    const ended = await ca.run(...words);
    assert.is(ended.code, code, ended.stderr);
    assert.match(ended.stderr, message);
  }
  const nowhere = await run(['keys', 'show', '--dir', join(root, 'none')]);
  assert.is(nowhere.code, 2);
  assert.match(nowhere.stderr, /has no CA: `understudy keys init` makes one/);
  const bin = join(root, 'bin');
  const without = await run(['keys', 'init', '--dir', join(root, 'other')], {
    env: { PATH: bin },
  });
  assert.is(without.code, 13);
  assert.match(without.stderr, /install the Debian package openssl/);
});

keys.run();

const starts = suite('keys that nobody would let in');

starts('a daemon does not begin with them, and says why', async () => {
  const ca = await Ca.make();
  const pair = await pairWithKeys(ca);
  const at = (host: Side, file: string): string => join(pair.dir, host, 'tls', file);
  const ends = async (side: Side, message: RegExp): Promise<void> => {
    const { code, stderr } = await pair.start(side).done;
    assert.is(code, 2, stderr);
    assert.match(stderr, message);
  };
  const other = await Ca.make();

  await ca.give(pair, 'primary', { side: 'backup' });
  await ends('primary', /is of \S+\/backup, and not of understudy:\/\/vm\/\S+\/primary/);
  await ca.give(pair, 'primary', { vm: 'web' });
  await ends('primary', /is of understudy:\/\/vm\/web\/primary, and not of/);
  await ca.give(pair, 'backup', { vm: 'web' });
  await ends('backup', /is of understudy:\/\/vm\/web\/backup, and not of .* or .*/);
  await ca.give(pair, 'primary', { days: 0 });
  await sleep(2100);
  await ends('primary', /our own certificate \S+ has expired/);
  await ca.give(pair, 'primary');
  cpSync(join(other.dir, 'ca.pem'), at('primary', 'ca.pem'));
  await ends('primary', /our own certificate \S+ is not of a CA that is trusted here/);
  await ca.give(pair, 'primary');
  chmodSync(at('primary', 'key.pem'), 0o644);
  await ends('primary', /key \S+: others may use it: `chmod 600/);
  rmSync(at('primary', 'key.pem'));
  await ends('primary', /replication.tls: key \S+: ENOENT/);
  await ca.give(pair, 'primary');
  const folder = join(ca.dir, `${pair.name}-primary`);
  const { serial = '' } = (await ca.issued()).find((it) => it.folder === folder) ?? {};
  assert.is((await ca.run('revoke', serial)).code, 0);
  place(folder, pair, 'primary');
  await ends('primary', /our own certificate \S+ is revoked/);
});

starts('without keys only loopback, unless it is asked for in so many words', async () => {
  const pair = await FakeVmPair.make();
  pairs.push(pair);
  const where = 'backup = "10.0.0.2:7700"';
  pair.configure('primary', where);
  const { code, stderr } = await pair.start('primary').done;
  assert.is(code, 2);
  assert.match(stderr, /replication.backup is 10.0.0.2, which is not this host alone/);
  assert.match(stderr, /insecure_plaintext = true/);
  pair.configure('primary', `${where}\ninsecure_plaintext = true`);
  pair.start('primary');
  await pair.until('primary', ({ state }) => state === 'starting');
  pair.configure('backup', `insecure_plaintext = true\n${TLS}`);
  const both = await pair.start('backup').done;
  assert.is(both.code, 2);
  assert.match(both.stderr, /has \[replication.tls\] and insecure_plaintext = true/);
});

starts.run();

const daemons = suite('a pair with keys');

daemons('protects, and takes over when its primary is killed', async () => {
  const pair = await pairWithKeys(await Ca.make());
  const { primary } = await pair.startBoth();
  const { stdout } = await run(['status', pair.name], { env: pair.env });
  assert.match(stdout, /link +TLS, our certificate until 20\d\d-/);
  primary.child.kill('SIGKILL');
  await pair.until('backup', ({ state }) => state === 'needs-backup');
});

daemons(
  'a backup that is refused says so with exit code 12, and the right one gets in',
  async () => {
    const ca = await Ca.make();
    const other = await Ca.make();
    const pair = await pairWithKeys(ca);
    const primary = pair.start('primary');
    await pair.until('primary', ({ state }) => state === 'starting');
    const refused = async (message: RegExp, told: RegExp | null): Promise<void> => {
      const { code, stderr } = await pair.start('backup').done;
      assert.is(code, 12, stderr);
      assert.match(stderr, message);
      const { state, last_refused: last } = (await pair.status('primary')) ?? {};
      assert.is(state, 'starting');
      if (told !== null) assert.match(last ?? '', told);
    };
    const itSays = /does not accept our certificate; `understudy status` there says why/;

    await other.give(pair, 'backup');
    await refused(
      /the peer's certificate is not of a CA that is trusted here/,
      /peer-untrusted: the peer does not accept our certificate/,
    );
    await ca.give(pair, 'backup', { side: 'primary' });
    await refused(itSays, /peer-untrusted: .* is of \S+\/primary, and not of \S+\/backup/);
    pair.configure('backup');
    await refused(
      /the peer speaks TLS, and this side has no \[replication.tls\]/,
      /peer-untrusted: the peer speaks no TLS, and this side has/,
    );
    pair.configure('backup', TLS);
    await ca.give(pair, 'backup');
    const old = join(root, 'old');
    cpSync(join(pair.dir, 'backup', 'tls'), old, { recursive: true });
    const folder = join(ca.dir, `${pair.name}-backup`);
    const { serial = '' } = (await ca.issued()).find((it) => it.folder === folder) ?? {};
    await ca.run('revoke', serial);
    // Only the primary has heard of it, and without a restart.
    cpSync(join(ca.dir, 'crl.pem'), join(pair.dir, 'primary', 'tls', 'crl.pem'));
    place(old, pair, 'backup');
    await refused(itSays, /peer-untrusted: the peer's certificate is revoked/);

    await ca.give(pair, 'backup');
    pair.start('backup');
    await pair.until('primary', ({ state }) => state === 'protected');
    assert.ok(isAlive(primary.child.pid ?? 0));
  },
);

daemons('strangers leave a protected pair as it is', async () => {
  const pair = await pairWithKeys(await Ca.make());
  await pair.startBoth();
  const stranger = () => {
    const socket = connect(pair.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('no hello of ours, and no TLS');
    socket.resume();
    return socket;
  };
  // One alone: of many, the last may be turned away for being too many.
  const sockets = [stranger()];
  const { last_refused: last } = await pair.until('primary', (it) => it.last_refused !== null);
  assert.match(last ?? '', /peer-untrusted: the peer speaks no TLS/);
  for (let n = 0; n < 40; n++) sockets.push(stranger());
  await sleep(300);
  for (const side of SIDES) {
    const { state } = (await pair.status(side)) ?? {};
    assert.is(state, side === 'primary' ? 'protected' : 'standby');
  }
  for (const socket of sockets) socket.destroy();
});

daemons(
  'who has other keys is refused by name, and a protected pair runs on as it is',
  async () => {
    const ca = await Ca.make();
    const pair = await pairWithKeys(ca);
    await pair.startBoth();
    const before = await Promise.all(SIDES.map((side) => pair.status(side)));
    const keysOf = async (from: Ca, side: Side, vm = pair.name, days = '30'): Promise<string> => {
      const { code, stderr } = await from.run('issue', vm, '--side', side, '--days', days);
      assert.is(code, 0, stderr);
      const folder = join(root, `others${++made}`);
      cpSync(join(from.dir, `${vm}-${side}`), folder, { recursive: true });
      return folder;
    };
    const other = await keysOf(await Ca.make(), 'backup');
    // It trusts the pair's CA, which does not trust its own.
    cpSync(join(ca.dir, 'ca.pem'), join(other, 'ca.pem'));
    const expired = await keysOf(ca, 'backup', pair.name, '0');
    const revoked = await keysOf(ca, 'backup');
    const folder = join(ca.dir, `${pair.name}-backup`);
    const { serial = '' } = (await ca.issued()).find((it) => it.folder === folder) ?? {};
    assert.is((await ca.run('revoke', serial)).code, 0);
    cpSync(join(ca.dir, 'crl.pem'), join(pair.dir, 'primary', 'tls', 'crl.pem'));
    await sleep(2100);
    for (const [keys, why] of [
      [other, 'is not of a CA that is trusted here'],
      [expired, 'has expired'],
      [await keysOf(ca, 'backup', 'web'), 'is of understudy://vm/web/backup, and not of'],
      [revoked, 'is revoked'],
      [await keysOf(ca, 'primary'), `is of understudy://vm/${pair.name}/primary, and not of`],
    ] as const) {
      const told = new Told();
      const link = Link.to('127.0.0.1', pair.port, securityOf(keysIn(keys), pair.name, 'backup'));
      link.start(told);
      link.send(goodbye);
      await until('it is refused', () => told.closes.length === 1);
      assert.match(
        told.closes[0] ?? '',
        'peer-untrusted: the peer does not accept our certificate',
      );
      assert.equal(told.frames, []);
      await pair.until('primary', ({ last_refused: last }) => last?.includes(why) === true);
      link.drop();
    }
    for (const [index, side] of SIDES.entries()) {
      const { state, term, qemu_pid } = (await pair.status(side)) ?? {};
      assert.is(state, side === 'primary' ? 'protected' : 'standby');
      assert.equal([term, qemu_pid], [before[index]?.term, before[index]?.qemu_pid]);
    }
  },
);

daemons('keys are exchanged without a restart, also half of them at a time', async () => {
  const pair = await pairWithKeys(await Ca.make());
  const primary = pair.start('primary');
  await pair.until('primary', ({ state }) => state === 'starting');
  const next = await Ca.make();
  await next.give(pair, 'backup');
  // Files come one by one: until all fit, the ones before are used.
  await next.run('issue', pair.name, '--side', 'primary');
  const folder = join(next.dir, `${pair.name}-primary`);
  const tls = join(pair.dir, 'primary', 'tls');
  cpSync(join(folder, 'cert.pem'), join(tls, 'cert.pem'));
  assert.is((await pair.start('backup').done).code, 12);
  await pair.until('primary', ({ last_refused: last }) => last !== null);
  for (const file of ['key.pem', 'ca.pem', 'crl.pem']) cpSync(join(folder, file), join(tls, file));
  pair.start('backup');
  await pair.until('primary', ({ state }) => state === 'protected');
  primary.child.kill('SIGTERM');
  const { stderr } = await primary.done;
  assert.match(stderr, /keys-unusable: the keys before are used: .*not the key of the certificate/);
});

daemons.after(async () => {
  for (const pair of pairs) await pair.end();
});

daemons.run();
