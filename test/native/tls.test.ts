// SPDX-License-Identifier: Apache-2.0
/** A link with keys: what is on the wire, what becomes of a wire that is cut, and who is let in. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pause, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { ExitRing, Keys, Link, Listener, type Security } from '../../native/kvm-exit-log/index.ts';
import { encodeGoodbye } from '../../src/wire/messages.ts';
import { goodSides, keysIn, securityOf, tappedPair, tempAuthority } from '../lib/keyed-links.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { bigGoodbye, goodbye, Told } from '../lib/told.ts';

const MARKER = 'the words of a guest';
const marked = encodeGoodbye({ reason: 'x', message: MARKER, lastSequence: 1n, term: 1 });
const authority = tempAuthority();
const sides = goodSides(authority);

const passes = suite('what passes');

passes(
  'frames in both directions, also those sent before both have keys, and none in clear',
  async () => {
    for (const isSealed of [true, false]) {
      const it = await tappedPair(isSealed ? sides : { primary: null, backup: null });
      for (let n = 0; n < 3; n++) it.backup.link.send(marked);
      it.primary.link.send(goodbye);
      await until('all', () => it.primary.told.frames.length === 3);
      it.primary.link.send(marked);
      await until('the answers', () => it.backup.told.frames.length === 2);
      assert.equal(it.primary.told.frames, [marked, marked, marked]);
      assert.equal(it.backup.told.frames, [goodbye, marked]);
      for (const bytes of it.wire.sent) assert.is(bytes.includes(MARKER), !isSealed);
      it.close();
    }
  },
);

passes('a slow reader gets all of it, in order, from a queue that was long', async () => {
  const it = await tappedPair(sides);
  it.backup.link.send(goodbye);
  await until('it is open', () => it.primary.told.frames.length === 1);
  for (const socket of it.wire.sockets) socket.pause();
  let sent = 1;
  while (it.backup.link.send(bigGoodbye)) sent += 1;
  assert.ok(sent > 20, `${sent} frames`);
  await pause(30);
  assert.is(it.backup.told.drains, 0);
  for (const socket of it.wire.sockets) socket.resume();
  await until('all of it', () => it.primary.told.frames.length === sent + 1);
  await until('it is told', () => it.backup.told.drains === 1);
  assert.ok(it.primary.told.frames.slice(1).every((frame) => frame.equals(bigGoodbye)));
  it.close();
});

passes('bytes one by one are the same frames', async () => {
  const it = await tappedPair(sides);
  it.backup.link.send(goodbye);
  await until('it is open', () => it.primary.told.frames.length === 1);
  const held = it.wire.hold(0);
  it.backup.link.send(marked);
  await until('its record', () => held().length > marked.length);
  const away = it.wire.sockets[1];
  for (const byte of held()) {
    away?.write(Buffer.from([byte]));
    await pause(0);
  }
  await until('the frame', () => it.primary.told.frames.length === 2);
  assert.equal(it.primary.told.frames[1], marked);
  it.close();
});

passes('a key seals as many records as it may, and then comes the next one', async () => {
  // A record that says "new key" has these bytes: 5 of handshake, type, tag.
  const KEY_UPDATE_BYTES = 5 + 1 + 16;
  const it = await tappedPair(goodSides(tempAuthority(), 10));
  for (let n = 0; n < 55; n++) {
    it.backup.link.send(goodbye);
    it.primary.link.send(goodbye);
    await until('it', () => it.primary.told.frames.length === n + 1);
  }
  await until('all', () => it.backup.told.frames.length === 55);
  for (const direction of [0, 1] as const) {
    const updates = it.wire.records(direction).filter((bytes) => bytes === KEY_UPDATE_BYTES);
    assert.is(updates.length, 5);
  }
  it.close();
});

passes("it is TLS to another's library, in both directions and over many records", async () => {
  const told = new Told();
  const links: Link[] = [];
  const listener = await Listener.on(
    '127.0.0.1',
    0,
    (link) => {
      links.push(link);
      link.start(told);
    },
    () => sides.primary,
  );
  for (const ciphers of [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
  ]) {
    const from = told.frames.length;
    const folder = authority.issue('shop', 'backup');
    const read = (name: string): Buffer => readFileSync(join(folder, `${name}.pem`));
    const socket = connectTls({
      ...{ host: '127.0.0.1', port: listener.port, ciphers },
      ...{ ca: read('ca'), cert: read('cert'), key: read('key') },
      checkServerIdentity: () => undefined,
    });
    let heard = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes]);
    });
    await once(socket, 'secureConnect');
    assert.equal([socket.getProtocol(), socket.authorized], ['TLSv1.3', true]);
    socket.write(goodbye);
    for (let n = 0; n < 5; n++) socket.write(bigGoodbye);
    await until('its frames', () => told.frames.length === from + 6);
    assert.ok(told.frames.slice(from + 1).every((frame) => frame.equals(bigGoodbye)));
    const link = links.at(-1);
    for (let n = 0; n < 5; n++) link?.send(bigGoodbye);
    link?.send(marked);
    await until('ours', () => heard.length === 5 * bigGoodbye.length + marked.length);
    assert.equal(heard.subarray(-marked.length), marked);
    socket.end();
    await until('its end', () => told.closes.length > 0);
    assert.is(told.closes.pop(), 'peer-lost: the peer closed the connection');
  }
  listener.close();
});

passes('another asks for new keys: it gets ours, and both go on', async () => {
  const told = new Told();
  let link: Link | null = null;
  const listener = await Listener.on(
    '127.0.0.1',
    0,
    (made) => {
      link = made;
      made.start(told);
    },
    () => sides.primary,
  );
  const folder = authority.issue('shop', 'backup');
  const path = (name: string): string => join(folder, `${name}.pem`);
  const words = ['s_client', '-tls1_3', '-connect', `127.0.0.1:${listener.port}`];
  words.push('-CAfile', path('ca'), '-cert', path('cert'), '-key', path('key'));
  const client = spawn('openssl', words, { stdio: ['pipe', 'pipe', 'ignore'] });
  let said = Buffer.alloc(0);
  client.stdout.on('data', (bytes: Buffer) => {
    said = Buffer.concat([said, bytes]);
  });
  try {
    await until('it is open', () => said.includes('Verify return code: 0'));
    for (let n = 1; n <= 3; n++) {
      client.stdin.write('K\n'); // its own, and it asks for ours
      await pause(50);
      client.stdin.write(goodbye);
      await until('its frame', () => told.frames.length === n);
      (link as Link | null)?.send(marked);
      await until('ours', () => said.toString('latin1').split(MARKER).length === n + 1);
    }
    assert.ok(told.frames.every((frame) => frame.equals(goodbye)));
    assert.equal(told.closes, []);
  } finally {
    client.kill('SIGKILL');
    listener.close();
  }
});

passes('it goes to a courier from inside a frame', async () => {
  const ring = new ExitRing();
  const t = new TestCourier(ring);
  const it = await tappedPair(sides);
  assert.is(
    codeOf(() => t.courier.attach(it.primary.link)),
    'ERR_RING_STATE',
    'before it is open',
  );
  it.backup.link.send(goodbye);
  await until('it is open', () => it.primary.told.frames.length === 1);
  for (let n = 0; n < 30; n++) it.backup.link.send(bigGoodbye);
  await until('some', () => it.primary.told.frames.length > 3);
  t.courier.attach(it.primary.link);
  it.primary.link.send(marked);
  await until('all', () => it.primary.told.frames.length === 31);
  await until('the answer', () => it.backup.told.frames.length === 1);
  assert.equal(it.backup.told.frames, [marked]);
  t.courier.destroy();
  await until('the end', () => it.backup.told.closes.length === 1);
  ring.destroy();
  it.close();
});

passes.run();

const ends = suite('how it ends');

ends('an end is said, after all that is queued', async () => {
  const CLOSE_NOTIFY_BYTES = 2 + 1 + 16;
  const it = await tappedPair(sides);
  it.backup.link.send(goodbye);
  await until('it is open', () => it.primary.told.frames.length === 1);
  for (let n = 0; n < 5; n++) it.backup.link.send(bigGoodbye);
  it.backup.link.end();
  await until('the end', () => it.primary.told.closes.length === 1);
  assert.is(it.primary.told.frames.length, 6);
  assert.equal(it.primary.told.closes, ['peer-lost: the peer closed the connection']);
  assert.is(it.wire.records(0).at(-1), CLOSE_NOTIFY_BYTES);
  it.close();
});

ends('a wire that is cut, or reset, is a peer that is lost; what was whole counts', async () => {
  for (const how of ['end', 'reset', 'in the handshake'] as const) {
    const it = await tappedPair(sides);
    if (how === 'in the handshake') it.wire.change = (bytes) => bytes.subarray(0, 60);
    it.backup.link.send(goodbye);
    if (how === 'in the handshake') {
      await until('some of it', () => it.wire.sent[0].length > 0);
      it.wire.sockets[1]?.end();
    } else {
      await until('it is open', () => it.primary.told.frames.length === 1);
      it.backup.link.send(marked);
      await until('it', () => it.primary.told.frames.length === 2);
      if (how === 'end') it.wire.sockets[1]?.end();
      else it.wire.sockets[1]?.resetAndDestroy();
    }
    await until('it is told', () => it.primary.told.closes.length === 1);
    assert.equal(it.primary.told.closes, [
      {
        end: 'peer-lost: the peer closed the connection',
        reset: 'peer-lost: connection error ECONNRESET',
        'in the handshake': 'peer-lost: the peer closed the connection in the TLS handshake',
      }[how],
    ]);
    it.close();
  }
});

ends('one bit that is another one ends it, after what was whole before it', async () => {
  const it = await tappedPair(sides);
  it.backup.link.send(goodbye);
  await until('it is open', () => it.primary.told.frames.length === 1);
  const held = it.wire.hold(0);
  it.backup.link.send(marked);
  it.backup.link.send(marked);
  await until('their records', () => held().length > 2 * marked.length);
  const bytes = held();
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  it.wire.sockets[1]?.write(bytes);
  await until('it is told', () => it.primary.told.closes.length === 1);
  assert.match(it.primary.told.closes[0] ?? '', /^peer-protocol: what the peer sent is not sealed/);
  assert.equal(it.primary.told.frames, [goodbye, marked]);
  it.close();
});

ends.run();

const lets = suite('who is let in');

/** What both are told when the backup comes with these. */
async function refused(primary: Security | null, backup: Security | null) {
  const it = await tappedPair({ primary, backup });
  it.backup.link.send(goodbye);
  await until('the primary ends it', () => it.primary.told.closes.length === 1);
  await until('the backup ends it', () => it.backup.told.closes.length === 1);
  assert.equal([it.primary.told.frames, it.backup.told.frames], [[], []]);
  it.close();
  return { primary: it.primary.told.closes[0] ?? '', backup: it.backup.told.closes[0] ?? '' };
}

const NOT_ACCEPTED =
  'peer-untrusted: the peer does not accept our certificate; `understudy status` there says why ' +
  '(last_refused)';

lets('a backup that is not one is refused by name, and hears always the same', async () => {
  const ours = tempAuthority();
  const primary = securityOf(
    keysIn(ours.issue('shop', 'primary'), { crl: true }),
    'shop',
    'primary',
  );
  const as = (keys: Keys): Security => securityOf(keys, 'shop', 'backup');

  // Its own CA signed the primary's, too: else it would be the first to refuse.
  const foreign = tempAuthority();
  const stranger = readFileSync(join(foreign.issue('shop', 'backup'), 'cert.pem'), 'utf8');
  const key = readFileSync(join(foreign.folderOf('shop', 'backup'), 'key.pem'), 'utf8');
  const ca = readFileSync(join(ours.dir, 'ca.pem'), 'utf8');
  const ofAnotherCa = new Keys({ ca, cert: stranger, key, crl: null });

  const expired = keysIn(ours.issue('shop', 'backup', 0));
  await pause(2100);
  assert.is(expired.fault, 'has expired');

  const backupFolder = ours.issue('shop', 'backup');
  const revoked = keysIn(backupFolder);
  const { issued } = ours.facts();
  ours.revoke(issued.find(({ folder }) => folder === backupFolder)?.serial ?? '');
  const knowing = securityOf(
    keysIn(ours.folderOf('shop', 'primary'), { crl: true }),
    'shop',
    'primary',
  );
  assert.is(keysIn(backupFolder, { crl: true }).fault, 'is revoked (crl)');

  const its = "peer-untrusted: the peer's certificate";
  for (const [side, keys, words] of [
    [primary, ofAnotherCa, `${its} is not of a CA that is trusted here (ca)`],
    [primary, expired, `${its} has expired`],
    [knowing, revoked, `${its} is revoked (crl)`],
    [
      primary,
      keysIn(ours.issue('web', 'backup')),
      `${its} is of understudy://vm/web/backup, and not of understudy://vm/shop/backup`,
    ],
    [
      primary,
      keysIn(ours.issue('shop', 'primary')),
      `${its} is of understudy://vm/shop/primary, and not of understudy://vm/shop/backup`,
    ],
  ] as const) {
    assert.equal(await refused(side, as(keys)), { primary: words, backup: NOT_ACCEPTED });
  }
  // Who did not get the list lets it in.
  const it = await tappedPair({ primary, backup: as(revoked) });
  it.backup.link.send(goodbye);
  await until('it is let in', () => it.primary.told.frames.length === 1);
  it.close();
});

lets('a primary that is none is refused by name', async () => {
  const ours = tempAuthority();
  const backup = securityOf(keysIn(ours.issue('shop', 'backup')), 'shop', 'backup');
  const foreign = goodSides();
  const its = "peer-untrusted: the peer's certificate";
  const ofAnotherCa = await refused(foreign.primary, backup);
  assert.is(ofAnotherCa.backup, `${its} is not of a CA that is trusted here (ca)`);
  assert.is(ofAnotherCa.primary, NOT_ACCEPTED);
  const swapped = securityOf(keysIn(ours.issue('shop', 'backup')), 'shop', 'primary');
  assert.equal(await refused(swapped, backup), {
    backup: `${its} is of understudy://vm/shop/backup, and not of understudy://vm/shop/primary`,
    primary: NOT_ACCEPTED,
  });
});

lets('one side without keys is told on both what is missing', async () => {
  const missing =
    'peer-untrusted: the peer speaks TLS, and this side has no [replication.tls] in VM.toml: ' +
    'it needs that too';
  assert.equal(await refused(sides.primary, null), {
    primary:
      'peer-untrusted: the peer speaks no TLS, and this side has [replication.tls] in VM.toml: ' +
      'it needs that too',
    backup: missing,
  });
  assert.equal(await refused(null, sides.backup), {
    primary: missing,
    backup:
      'peer-untrusted: the peer speaks no TLS that both know: has it [replication.tls] in VM.toml?',
  });
});

lets(
  'without a certificate, with an older TLS, with garbage: no byte of it is a frame',
  async () => {
    const told: Told[] = [];
    const listener = await Listener.on(
      '127.0.0.1',
      0,
      (link) => {
        const one = new Told();
        told.push(one);
        link.start(one);
      },
      () => sides.primary,
    );
    const to = { host: '127.0.0.1', port: listener.port };
    for (const options of [{}, { maxVersion: 'TLSv1.2' }] as const) {
      const socket = connectTls({ ...to, ...options, rejectUnauthorized: false });
      socket.on('secureConnect', () => socket.write(goodbye));
      await Promise.race([once(socket, 'error'), once(socket, 'close')]);
      socket.destroy();
    }
    for (const bytes of [
      goodbye,
      Buffer.alloc(3000, 0x16),
      Buffer.from([0x16, 3, 1, 0xff, 0xff]),
    ]) {
      const socket = connectPlain(to);
      socket.on('error', () => {});
      socket.end(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    await until(
      'all are over',
      () => told.length === 5 && told.every((it) => it.closes.length === 1),
    );
    assert.equal(
      told.flatMap(({ frames }) => frames),
      [],
    );
    const closes = told.map(({ closes: [words = ''] }) => words);
    assert.is(closes[0], 'peer-untrusted: the peer has no certificate');
    assert.match(closes[1] ?? '', /^peer-untrusted: no TLS with the peer: unsupported protocol/);
    assert.match(closes[2] ?? '', /^peer-untrusted: the peer speaks no TLS/);
    assert.match(closes[3] ?? '', /^peer-untrusted: no TLS with the peer: /);
    assert.match(closes[4] ?? '', /^peer-(untrusted|lost): /);
    listener.close();
  },
);

lets.run();

const misuse = suite('misuse');

misuse('texts that are no keys are refused by the name of the file', () => {
  const folder = tempAuthority().issue('shop', 'primary');
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  const good = { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem'), crl: null };
  const fails = (texts: Partial<Record<keyof typeof good, string>>): string => {
    try {
      new Keys({ ...good, ...texts });
    } catch (error) {
      assert.is((error as { code?: string }).code, 'ERR_KEYS');
      return (error as Error).message;
    }
    throw new Error('they were taken');
  };
  assert.match(fails({ ca: '' }), /^ca: there is no certificate in it/);
  assert.match(fails({ cert: good.key }), /^cert: there is no certificate in it/);
  assert.match(fails({ ca: good.ca.replace(/\n[A-Z].{20}/, '\n') }), /^ca: a certificate in it/);
  assert.match(fails({ key: good.cert }), /^key: no private key can be read/);
  const other = readFileSync(join(tempAuthority().issue('shop', 'primary'), 'key.pem'), 'utf8');
  assert.match(fails({ key: other }), /^key: it is not the key of the certificate/);
  assert.match(fails({ crl: good.ca }), /^crl: there is no list of revoked certificates/);
  assert.equal(new Keys(good).names, ['understudy://vm/shop/primary']);
  assert.ok(Math.abs(new Keys(good).endsMs - Date.now() - 825 * 86_400_000) < 60_000);
});

misuse('keys are given before it goes anywhere, and are keys', () => {
  const link = Link.to('127.0.0.1', 1, sides.backup);
  link.start(new Told());
  const { keys, peerName } = sides.backup;
  const secure = (...words: unknown[]): string =>
    codeOf(() => (link.native.secure as (...all: unknown[]) => void)(...words));
  assert.is(secure({}, true, peerName), 'ERR_INVALID_ARG_TYPE');
  assert.is(secure(keys.native, 1, peerName), 'ERR_INVALID_ARG_TYPE');
  assert.is(secure(keys.native, true, ''), 'ERR_OUT_OF_RANGE');
  link.drop();
  assert.is(secure(keys.native, true, peerName), 'ERR_RING_STATE');
});

misuse.run();
