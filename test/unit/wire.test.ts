// SPDX-License-Identifier: Apache-2.0
/** Messages, frames from a byte stream, and what a hello refuses. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sealControlFrame } from '../../native/kvm-exit-log/index.ts';
import { Ack as AckSchema, Heartbeat as HeartbeatSchema } from '../../schema/wire.capnp.ts';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { icountOf } from '../../src/base/position.ts';
import { draftControl, FRAME, openControl } from '../../src/log/frame.ts';
import { PeerMonitor } from '../../src/wire/detect.ts';
import { STRUCT_AT } from '../../src/wire/fixed.ts';
import { checkHello, helloOf, welcomeOf } from '../../src/wire/hello.ts';
import * as messages from '../../src/wire/messages.ts';
import { type Frame, FrameParser } from '../../src/wire/parser.ts';
import { ack } from '../lib/an-ack.ts';
import { beat, facts, terms } from '../lib/some-messages.ts';

const frameOf = (bytes: Buffer): Frame => ({
  type: bytes.readUInt16LE(4),
  buffer: bytes,
  offset: 0,
  length: bytes.length,
});

const codec = suite('messages');

codec('a hand-written ack is what the schema says', () => {
  for (const flags of [{}, { durable: false }, { ready: true }, { ready: true, durable: false }]) {
    const given = { ...ack, ...flags };
    const bytes = messages.encodeAck(given);
    const root = openControl(bytes, 0, bytes.length, FRAME.ACK, AckSchema);
    assert.is(root.getSequence(), given.sequence);
    assert.is(root.getRecordEnd(), given.recordEnd);
    assert.is(root.getExecutedIcount(), icountOf(given.executed.point));
    assert.is(root.getExecutedVtimeNs(), given.executed.vtimeNs);
    assert.is(root.getSentAtNs(), given.sentAtNs);
    assert.is(root.getTerm(), given.term);
    assert.is(root.getDurable(), given.durable);
    assert.is(root.getReady(), given.ready);
    assert.is(root.getBatchChecksum(), given.batchChecksum);
    assert.is(root.getInPending(), given.inPending);
    assert.equal(messages.decodeAck(frameOf(bytes)), given);
  }
});

codec('a hand-written heartbeat is, byte for byte, what the generated code writes', () => {
  for (const state of ['', 'standby', 'syncing', 'needs-backup', 'four and twenty letters.']) {
    const given = { ...beat, state };
    const { root, frame } = draftControl(FRAME.HEARTBEAT, HeartbeatSchema);
    root.setCounter(given.counter);
    root.setSentAtNs(given.sentAtNs);
    root.setIcount(icountOf(given.position.point));
    root.setVtimeNs(given.position.vtimeNs);
    root.setTerm(given.term);
    root.setState(given.state);
    root.setEchoCounter(given.echoCounter);
    root.setEchoSentAtNs(given.echoSentAtNs);
    root.setVisits(given.visits);
    const bytes = messages.encodeHeartbeat(given);
    assert.equal(bytes, frame());
    assert.equal(messages.decodeHeartbeat(frameOf(bytes)), given);
  }
});

codec('a heartbeat whose text is not where it belongs is refused', () => {
  const good = messages.encodeHeartbeat(beat);
  for (const [at, value] of [
    [STRUCT_AT - 4, 8],
    [STRUCT_AT + 72, 5],
    [STRUCT_AT + 76, 2],
    [STRUCT_AT + 76, 0x7fff_fffa],
    [STRUCT_AT + 76, 8 * 17 + 2],
    [STRUCT_AT + 76, 8 * 8 + 3],
  ] as const) {
    const bytes = Buffer.from(good);
    bytes.writeUInt32LE(value, at);
    sealControlFrame(bytes);
    assert.throws(() => messages.decodeHeartbeat(frameOf(bytes)), /a heartbeat of another layout/);
  }
});

codec('every message comes back as it went', () => {
  const hello = { ...helloOf(facts), term: 7, vmId: Buffer.alloc(16, 9), settings: { a: 'b' } };
  assert.equal(messages.decodeHello(frameOf(messages.encodeHello(hello))), hello);
  const welcome = welcomeOf(facts, terms);
  assert.equal(messages.decodeWelcome(frameOf(messages.encodeWelcome(welcome))), welcome);
  const refuse = { code: 'name-differs', message: 'no', expected: 'a', actual: 'b' };
  assert.equal(messages.decodeRefuse(frameOf(messages.encodeRefuse(refuse))), refuse);
  assert.equal(messages.decodeHeartbeat(frameOf(messages.encodeHeartbeat(beat))), beat);
  const goodbye = { reason: 'stop', message: 'why not', lastSequence: 3n, term: 1 };
  assert.equal(messages.decodeGoodbye(frameOf(messages.encodeGoodbye(goodbye))), goodbye);
});

codec('a flipped bit anywhere is refused', () => {
  const good = messages.encodeAck(ack);
  for (let bit = 0; bit < good.length * 8; bit += 1) {
    const bytes = Buffer.from(good);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(
      () => {
        new FrameParser((frame) => messages.decodeAck(frame)).push(bytes);
        // A longer length only makes it wait for more: its prefix is broken, so it cannot.
      },
      (error: UnderstudyError) => error.code === 'peer-protocol',
      `bit ${bit}`,
    );
  }
});

codec.run();

const parser = suite('parser');

parser('frames come out whole, however the stream is cut', () => {
  const stream = Buffer.concat(
    Array.from({ length: 20 }, (_, index) =>
      messages.encodeGoodbye({
        reason: 'x'.repeat(index * 7),
        message: String(index),
        lastSequence: BigInt(index),
        term: 1,
      }),
    ),
  );
  for (const step of [1, 3, 15, 16, 17, 64, 1000, stream.length]) {
    const seen: bigint[] = [];
    const cut = new FrameParser((frame) => seen.push(messages.decodeGoodbye(frame).lastSequence));
    for (let at = 0; at < stream.length; at += step) cut.push(stream.subarray(at, at + step));
    assert.equal(
      seen,
      Array.from({ length: 20 }, (_, index) => BigInt(index)),
      `in steps of ${step}`,
    );
    assert.is(cut.unfinished, null);
  }
});

parser('a whole frame is handed out where it lies', () => {
  const bytes = messages.encodeAck(ack);
  new FrameParser((frame) => assert.is(frame.buffer, bytes)).push(bytes);
});

parser('what is unfinished can be told', () => {
  const bytes = messages.encodeAck(ack);
  const cut = new FrameParser(() => {});
  cut.push(bytes.subarray(0, 10));
  assert.equal(cut.unfinished, { have: 10, of: null });
  cut.push(bytes.subarray(10, 40));
  assert.equal(cut.unfinished, { have: 40, of: bytes.length });
});

parser.run();

const hellos = suite('hello');

hellos('the same VM is welcome', () => {
  assert.is(checkHello(helloOf(facts), facts), null);
});

for (const [code, change, pattern] of [
  ['protocol', { protocol: 'http' }, /protocol differs: primary has understudy, backup has http/],
  ['wire-version', { wireVersion: 3 }, /wire version differs: primary has 5, backup has 3/],
  ['log-version', { logVersion: 0 }, /log version differs: primary has 1, backup has 0/],
  ['name-differs', { name: 'other' }, /VM name differs: primary has demo, backup has other/],
  ['qemu-build-differs', { qemuBuildId: 'bbbb' }, /QEMU build id differs.*aaaa.*bbbb/],
  [
    'firmware-differs',
    { settings: { 'firmware/bios-256k.bin': 'ffff' } },
    /firmware bios-256k.bin differs: primary has eeee, backup has ffff; .*UNDERSTUDY_FIRMWARE_DIR/,
  ],
  [
    'firmware-differs',
    { settings: {} },
    /firmware bios-256k.bin.*primary has eeee, backup has none/,
  ],
  [
    'guard-differs',
    { settings: { ...helloOf(facts).settings, 'guard.agent': 'yes' }, configHash: 'dddd' },
    /port for a guard differs: primary has no, backup has yes; guard.enabled and guard.agent must/,
  ],
  ['config-differs', { configHash: 'dddd' }, /configuration hash differs.*cccc.*dddd/],
  ['disk-differs', { disks: [] }, /number of disks differs: primary has 1, backup has 0/],
  [
    'disk-differs',
    { disks: [{ name: 'disk.raw', bytes: 512n, xxh64: 1n }] },
    /size of disk 0 \(disk.raw\) differs: primary has 1099511627776 bytes, backup has 512 bytes/,
  ],
  [
    'disk-differs',
    { disks: [{ name: 'disk.raw', bytes: 1n << 40n, xxh64: 1n }] },
    /content hash of disk 0 \(disk.raw\).*fffffffffffffff1.*0000000000000001/,
  ],
  ['arbiter-differs', { arbiter: '' }, /arbiter differs.*backup has none/],
  [
    'replication-protocol-differs',
    { settings: { ...helloOf(facts).settings, 'replication.protocol': 'lockstep-epoch' } },
    /protocol differs: primary has lockstep, backup has lockstep-epoch; .*replication.protocol must/,
  ],
  [
    'epochs-differ',
    { settings: { ...helloOf(facts).settings, 'replication.epochs': 'every 25 ms' } },
    /epochs differs: primary has never, backup has every 25 ms; .*interval_ms, .*output_wait_us_max and disk/,
  ],
] as const) {
  hellos(`refuses by name: ${code} ${String(pattern)}`, () => {
    const refusal = checkHello({ ...helloOf(facts), ...change }, facts);
    assert.is(refusal?.code, code);
    assert.match(refusal?.message ?? '', pattern);
  });
}

hellos('has a word of a port for a guard only where there is one', () => {
  assert.not.match(Object.keys(helloOf(facts).settings).join(), 'guard');
  const guarded = { ...facts, guardPort: true };
  assert.is(checkHello(helloOf(guarded), guarded), null);
  assert.is(checkHello(helloOf(facts), guarded)?.code, 'guard-differs');
});

hellos('refuses acks that mean less than asked for', () => {
  const refusal = checkHello(helloOf(facts), { ...facts, durability: 'disk' });
  assert.is(refusal?.code, 'durability-differs');
});

hellos.run();

const monitors = suite('peer monitor');

monitors('silence is noticed after the missed heartbeats, not before', () => {
  const monitor = new PeerMonitor({ intervalMs: 100, missed: 3 }, 0);
  assert.is(monitor.tick(100), null);
  assert.is(monitor.tick(200), null);
  monitor.heard(250);
  for (const now of [300, 400, 500]) assert.is(monitor.tick(now), null);
  const detection = monitor.tick(600);
  assert.is(detection?.detectMs, 350);
  assert.match(detection?.reason ?? '', 'no sign of life for 350 ms');
});

monitors('our own stall gives the peer one interval more', () => {
  const monitor = new PeerMonitor({ intervalMs: 100, missed: 3 }, 0);
  monitor.tick(100);
  assert.is(monitor.tick(900), null);
  assert.is(monitor.stalls, 1);
  assert.is(monitor.tick(990), null);
  assert.is.not(monitor.tick(1010), null);
});

monitors('what waited unread during the stall counts', () => {
  const monitor = new PeerMonitor({ intervalMs: 100, missed: 3 }, 0);
  monitor.tick(100);
  monitor.tick(900);
  monitor.heard(901);
  assert.is(monitor.tick(1000), null);
  assert.is(monitor.tick(1100), null);
});

monitors('silence while we do not read means nothing', () => {
  const monitor = new PeerMonitor({ intervalMs: 100, missed: 3 }, 0);
  for (let now = 100; now < 2000; now += 100) {
    monitor.excuse(now);
    assert.is(monitor.tick(now), null);
  }
});

monitors('who looks only when silence would be over notices it then, and a stall as well', () => {
  const monitor = new PeerMonitor({ intervalMs: 100, missed: 3 }, 0);
  assert.is(monitor.tick(100), null);
  monitor.heard(90);
  assert.is(monitor.untilDeadlineMs(100), 290);
  assert.is(monitor.tick(391)?.detectMs, 301);
  monitor.heard(380);
  assert.is(monitor.untilDeadlineMs(391), 289);
  // Late by more than an interval: what waits unread is given its time.
  assert.is(monitor.tick(800), null);
  assert.is(monitor.stalls, 1);
  assert.is(monitor.untilDeadlineMs(800), 100);
  assert.is.not(monitor.tick(900), null);
});

monitors.run();
