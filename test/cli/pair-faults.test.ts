// SPDX-License-Identifier: Apache-2.0
/**
 * Peers that lie, break off or are something else, against the real daemons'
 * sockets; acks withheld; a disk that is full.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dirArbiter } from '../../src/arbiter/dir.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import * as messages from '../../src/wire/messages.ts';
import { run } from '../lib/command.ts';
import { FakeVmPair, sleep } from '../lib/fake-vm-pair.ts';
import { freePort } from '../lib/free-port.ts';
import { AMPLIFIED, amplified, usedBy } from '../lib/hostile-hello.ts';
import { HandBackup, HandPrimary } from '../lib/pair-peer.ts';

/** The hello that the real backup of this pair says. */
async function helloOf(pair: FakeVmPair): Promise<messages.Hello> {
  const toml = pair.toml('backup');
  const port = await freePort();
  let heard: (hello: messages.Hello) => void = () => {};
  const hello = new Promise<messages.Hello>((resolve) => {
    heard = resolve;
  });
  const hand = new HandPrimary(port, (primary, index) => {
    const peer = primary.met[index];
    if (peer === undefined) return;
    peer.socket.write(
      messages.encodeRefuse({ code: 'test', message: 'enough', expected: '', actual: '' }),
    );
    heard(peer.hello);
  });
  const text = readFileSync(toml, 'utf8');
  writeFileSync(toml, text.replace(`:${pair.port}`, `:${port}`));
  const { code, stderr } = await run(['backup', toml], { env: pair.env });
  writeFileSync(toml, text);
  assert.is(code, 12, stderr);
  assert.match(stderr, 'refused: test: enough');
  hand.close();
  return hello;
}

async function primaryAndHand(replication = '') {
  const pair = await FakeVmPair.make(replication);
  const hello = await helloOf(pair);
  const primary = pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  return { pair, hello, primary, hand: new HandBackup(pair.port) };
}

const strangers = suite('strangers at the primary');

strangers('garbage, silence and half a hello change nothing', async () => {
  const pair = await FakeVmPair.make();
  pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  const silent = connect(pair.port, '127.0.0.1');
  const garbage = connect(pair.port, '127.0.0.1');
  garbage.on('error', () => {});
  garbage.write('GET / HTTP/1.1\r\n\r\n and more to fill a prefix');
  await pair.until('primary', (s) => /no frame of ours.*GET/.test(s.last_refused ?? ''));
  const half = connect(pair.port, '127.0.0.1');
  half.end(
    messages.encodeGoodbye({ reason: '', message: '', lastSequence: 0n, term: 0 }).subarray(0, 30),
  );
  await pair.until('primary', (s) => /in the middle of a frame \(30 of/.test(s.last_refused ?? ''));
  // An ack instead of a hello.
  const rude = new HandBackup(pair.port);
  rude.ack({});
  const refuse = messages.decodeRefuse(await rude.expect(FRAME.REFUSE));
  assert.match(refuse.message, 'expected a hello, got a ack');
  // A real backup is welcome all the same.
  pair.start('backup');
  await pair.until('primary', (status) => status.state === 'protected');
  // And while protected, strangers are still only strangers.
  const more = connect(pair.port, '127.0.0.1');
  more.on('error', () => {});
  more.write(Buffer.alloc(64, 0xff));
  await pair.until('primary', (s) => /ffffffff/.test(s.last_refused ?? ''));
  assert.is((await pair.status('primary'))?.state, 'protected');
  silent.destroy();
  await pair.end();
});

strangers('a hello of 64 KiB that says gigabytes costs 10 ms and 10 MB at most', async () => {
  const pair = await FakeVmPair.make();
  await pair.startBoth();
  const { pid } = await pair.until('primary', () => true);
  const hellos = [true, false, true].flatMap((isDisguised) =>
    AMPLIFIED.map((of) => amplified(...of, isDisguised).buffer),
  );
  const { cpuMs, bytes } = await usedBy(pid, async () => {
    for (const hello of hellos) {
      const stranger = connect(pair.port, '127.0.0.1', () => stranger.end(hello));
      stranger.on('error', () => {}).resume();
      await once(stranger, 'close');
    }
  });
  assert.ok(cpuMs < 10 * hellos.length && bytes < 10e6, `${cpuMs} ms, ${bytes} bytes`);
  assert.is((await pair.status('primary'))?.state, 'protected');
  await pair.end();
});

strangers('a backup of another protocol ends with both names and the remedy', async () => {
  const pair = await FakeVmPair.make();
  pair.configure('backup', 'protocol = "lockstep-epoch"');
  pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  const { code, stderr } = await run(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(code, 12, stderr);
  assert.match(stderr, /replication-protocol-differs: .* has lockstep, backup has lockstep-epoch/);
  assert.match(stderr, 'replication.protocol must be the same in both VM.toml');
  await pair.end();
});

strangers('each difference in the hello is refused by its name', async () => {
  const { pair, hello, hand } = await primaryAndHand();
  hand.socket.destroy();
  for (const [code, change] of [
    ['protocol', { protocol: 'other' }],
    ['wire-version', { wireVersion: 99 }],
    ['log-version', { logVersion: 0 }],
    ['name-differs', { name: 'other' }],
    ['qemu-build-differs', { qemuBuildId: 'other' }],
    ['config-differs', { configHash: 'other' }],
    ['disk-differs', { disks: [] }],
    ['arbiter-differs', { arbiter: '' }],
  ] as const) {
    const peer = new HandBackup(pair.port);
    peer.hello({ ...hello, ...change });
    const refuse = messages.decodeRefuse(await peer.expect(FRAME.REFUSE));
    assert.is(refuse.code, code);
    await peer.closed;
  }
  await pair.end();
});

strangers('a second backup is refused', async () => {
  const { pair, hello, hand } = await primaryAndHand();
  await hand.stand(hello);
  const second = new HandBackup(pair.port);
  second.hello(hello);
  assert.is(messages.decodeRefuse(await second.expect(FRAME.REFUSE)).code, 'has-backup');
  await pair.end();
});

strangers.run();

const liars = suite('a backup that lies');

/** What it does after the first batch, and how the primary must name it. */
const LIES: Record<string, { lie: (hand: HandBackup) => void; named: RegExp }> = {
  'an ack from the future': {
    lie: (hand) => hand.ack({ sequence: 1_000_000n, recordEnd: 1n }),
    named: /acknowledged batch 1000000, which was never sent/,
  },
  'an ack of another end': {
    lie: (hand) => hand.ack({ sequence: 0n, recordEnd: 12345n }),
    named: /acknowledged batch 0 as ending at record 12345/,
  },
  'an ack of another term': {
    lie: (hand) => hand.ack({ term: 9 }),
    named: /acknowledged in term 9, this is term 1/,
  },
  garbage: {
    lie: (hand) => hand.socket.write('I am your backup, honestly'),
    named: /no frame of ours/,
  },
  'half an ack': {
    lie: (hand) => {
      hand.socket.end(
        messages.encodeRefuse({ code: '', message: '', expected: '', actual: '' }).subarray(0, 40),
      );
    },
    named: /in the middle of a frame \(40 of/,
  },
  'a batch of its own': {
    lie: (hand) => {
      const { frame } = { frame: hand.frames.find(({ type }) => type === FRAME.BATCH) };
      if (frame !== undefined) hand.socket.write(frame.buffer);
      else
        hand.socket.write(
          messages.encodeRefuse({ code: '', message: '', expected: '', actual: '' }),
        );
    },
    named: /unexpected (batch|refuse) of a backup/,
  },
  silence: { lie: () => {}, named: /no sign of life for/ },
};

for (const [name, { lie, named }] of Object.entries(LIES)) {
  liars(`${name}: lost, named, and the primary goes on after the fence`, async () => {
    const { pair, hello, hand } = await primaryAndHand();
    await hand.stand(hello);
    await pair.until('primary', (status) => status.state === 'protected');
    lie(hand);
    const alone = await pair.until('primary', (status) => status.state === 'needs-backup');
    assert.match(alone.reason, named);
    assert.is(alone.term, 2);
    await pair.end();
  });
}

/** Whoever acknowledges nothing is waited for. */
const PATIENT = 'heartbeat_ms = 5000\nstuck_ms_max = 3600000';

liars('acks withheld: no console byte leaves; acked: they do', async () => {
  const { pair, hello, hand } = await primaryAndHand(PATIENT);
  const { header } = await hand.stand(hello);
  let last = header;
  const consoleLog = join(pair.stateDir('primary'), 'console.log');
  await sleep(700);
  assert.is(readFileSync(consoleLog, 'utf8'), '', 'nothing may leave without an ack');
  for (const frame of hand.frames) {
    if (frame.type === FRAME.BATCH) last = readBatchHeader(frame.buffer, 0);
  }
  hand.ack({ sequence: last.sequence, recordEnd: last.recordEnd });
  await sleep(500);
  const text = readFileSync(consoleLog, 'utf8');
  assert.match(text, 'line 1\n');
  await sleep(300);
  assert.is(readFileSync(consoleLog, 'utf8'), text, 'and no more than was acked');
  await pair.end();
});

liars('acks withheld to the end of the guest: it ends, and nothing of that leaves', async () => {
  const pair = await FakeVmPair.make(PATIENT);
  const hello = await helloOf(pair);
  const primary = pair.start('primary', { FAKE_VM_LINES: '30' });
  await pair.until('primary', (status) => status.state === 'starting');
  await new HandBackup(pair.port).stand(hello);
  const { code, stderr } = await primary.done;
  assert.is(code, 0, stderr);
  assert.is(readFileSync(join(pair.stateDir('primary'), 'console.log'), 'utf8'), '');
});

liars('fenced: while it waited somebody took the term; its QEMU is killed', async () => {
  const { pair, hello, hand, primary } = await primaryAndHand();
  const arbiter = dirArbiter(join(pair.dir, 'arbiter'));
  await arbiter.probe(); // its process has started: this hand does not beat
  const { welcome } = await hand.stand(hello);
  const claimant = { role: 'backup', name: 'x', host: 'y', pid: 1, instance: 'z' } as const;
  const claim = await arbiter.claim(welcome.vmId.toString('hex'), 2, claimant);
  assert.is(claim.result, 'won');
  hand.socket.destroy();
  const { code, stderr } = await primary.done;
  assert.is(code, 12);
  assert.match(stderr, 'fenced: term 2 is held by backup x on y (process 1)');
  await pair.end();
});

liars.run();

const primaries = suite('a primary that lies');

async function backupAndHand(
  after: (hand: HandPrimary, write: (bytes: Buffer) => void) => void | Promise<void>,
): Promise<{ pair: FakeVmPair; hand: HandPrimary }> {
  const pair = await FakeVmPair.make();
  const hand = new HandPrimary(pair.port, async (primary, index) => {
    if (index > 0) return; // once is enough
    await dirArbiter(join(pair.dir, 'arbiter')).claim(primary.vmId.toString('hex'), 1, {
      role: 'primary',
      name: 'hand',
      host: 'here',
      pid: 1,
      instance: 'hand',
    });
    primary.welcome(index);
    const peer = primary.met[index];
    while (peer?.acks.some((ack) => ack.ready) !== true) await sleep(10);
    await after(primary, (bytes) => peer.socket.write(bytes));
  });
  pair.start('backup');
  return { pair, hand };
}

const BATCH_LIES: Record<string, { change: object; named: RegExp }> = {
  'a gap': { change: { sequence: 7n }, named: /batch 7 where batch 1 is due/ },
  'another VM': { change: { vmId: Buffer.alloc(16, 9) }, named: /a batch of another VM \(0909/ },
  'another term': { change: { term: 4 }, named: /a batch of term 4, this is term 1/ },
  'another log': { change: { prevChecksum: 5n }, named: /does not follow the one before/ },
  'missing records': { change: { recordBase: 3n }, named: /from record 3, 0 is due/ },
};

for (const [name, { change, named }] of Object.entries(BATCH_LIES)) {
  primaries(`${name} in a batch: refused by name, and it takes over what it has`, async () => {
    const { pair, hand } = await backupAndHand((primary, write) => {
      write(primary.batch());
      write(primary.batch(change));
    });
    const live = await pair.until('backup', (status) => status.state === 'needs-backup');
    assert.match(live.reason, named);
    assert.ok(
      hand.met[0]?.acks.every((ack) => ack.sequence === 0n),
      'no ack for it',
    );
    hand.close();
    await pair.end();
  });
}

primaries('half a batch, then the end: what was whole is replayed', async () => {
  const { pair, hand } = await backupAndHand((primary, write) => {
    write(primary.batch());
    write(primary.batch().subarray(0, 100));
    setTimeout(() => primary.met[0]?.socket.destroy(), 100);
  });
  const live = await pair.until('backup', (status) => status.state === 'needs-backup');
  assert.match(live.reason, /in the middle of a frame \(100 of|ECONNRESET/);
  hand.close();
  await pair.end();
});

primaries('a flipped bit in a batch', async () => {
  const { pair, hand } = await backupAndHand((primary, write) => {
    write(primary.batch());
    const bytes = primary.batch();
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    write(bytes);
  });
  const live = await pair.until('backup', (status) => status.state === 'needs-backup');
  assert.match(live.reason, /a damaged batch: /);
  hand.close();
  await pair.end();
});

primaries('lost before its first batch: the backup looks for it again', async () => {
  const { pair, hand } = await backupAndHand((primary) => {
    primary.met[0]?.socket.destroy();
  });
  const again = async (): Promise<boolean> => {
    for (let tries = 0; tries < 300 && hand.met.length < 2; tries += 1) await sleep(20);
    return hand.met.length >= 2;
  };
  assert.ok(await again(), 'a second hello came');
  hand.close();
  await pair.end();
});

primaries('what listens there is no primary', async () => {
  const pair = await FakeVmPair.make();
  const hand = new HandPrimary(pair.port, (primary, index) => {
    primary.met[index]?.socket.write('220 smtp.example.com ready\r\n');
  });
  const { code, stderr } = await run(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(code, 12);
  assert.match(stderr, /no frame of ours.*220 smtp/);
  hand.close();
});

primaries.run();

const disks = suite('a full disk');

disks('on the primary: its backup takes over by itself, and says why', async () => {
  assert.is(process.getuid?.(), 0, 'this test mounts a small file system: run it as root');
  const pair = await FakeVmPair.make();
  const state = pair.stateDir('primary');
  mkdirSync(state, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', state]);
  try {
    const { primary } = await pair.startBoth();
    const live = await pair.until('backup', (s) => s.state === 'needs-backup', 60_000);
    assert.match(live.reason, 'log-failed: the log cannot be written: no space left');
    const { code, stderr } = await primary.done;
    assert.is(code, 0, 'handed over, and not ended by its full disk');
    assert.match(stderr, 'the log cannot be written: no space left');
  } finally {
    await pair.end();
    execFileSync('umount', [state]);
  }
});

disks('on the backup: it says so and leaves, the primary goes on alone', async () => {
  assert.is(process.getuid?.(), 0, 'this test mounts a small file system: run it as root');
  const pair = await FakeVmPair.make();
  const state = pair.stateDir('backup');
  mkdirSync(state, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', state]);
  try {
    const { backup } = await pair.startBoth();
    const { code, stderr } = await backup.done;
    assert.is(code, 1);
    assert.match(stderr, 'the log cannot be stored: no space left');
    const alone = await pair.until('primary', (s) => s.state === 'needs-backup');
    assert.match(alone.reason, 'no space left');
  } finally {
    await pair.end();
    execFileSync('umount', [state]);
  }
});

disks.run();
