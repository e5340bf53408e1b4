// SPDX-License-Identifier: Apache-2.0
/**
 * What a new backup of a running VM starts from: a copy of its disk, made while the guest
 * writes to it, and a checkpoint that was asked for. From these two, and not from the disk
 * at power-on, a replay must get to the same end; and a replica that began there takes over.
 *
 *   npm test integration/checkpoint-request
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL, type Courier, type ExitRing } from '../../native/kvm-exit-log/index.ts';
import { writeJson } from '../../src/base/json-file.ts';
import { silentLogger } from '../../src/base/logger.ts';
import {
  advance,
  comparePoints,
  distance,
  keyOf,
  nameOf,
  POWER_ON,
  type Point,
} from '../../src/base/position.ts';
import { positionFields } from '../../src/base/position-json.ts';
import { readManifest } from '../../src/checkpoint/manifest.ts';
import { applyDisks, findStart, originOf } from '../../src/checkpoint/start.ts';
import { readLogEnd } from '../../src/log/log-end.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { Recorder } from '../../src/record/recorder.ts';
import { openRecording, recordingPaths } from '../../src/recording/folder.ts';
import { type ReplayResult, replay } from '../../src/replay/replayer.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { ConsoleInput } from '../../src/vm/console-input.ts';
import { copySparse, hashDisks } from '../../src/vm/disk.ts';
import { Machine } from '../../src/vm/machine.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { QemuProcess } from '../../src/vm/qemu-process.ts';
import { carry } from '../lib/carried-log.ts';
import { scratch } from '../lib/command.ts';
import { clustersOf, SlowWrites, type Write } from '../lib/slow-writes.ts';
import { referenceGuest } from '../lib/workloads.ts';

const requests = suite('checkpoint on request');
const ON_REQUEST = { everyInstructions: 0, everyMs: 0 } as const;
const DIGEST_EVERY = 100_000_000;
const CLUSTER_BYTES = 65_536;
/** A copy of the disk takes less: a write that began before it can end after it. */
const WRITE_MS = 300;
const MARKS_MAX = 20;
/** Files, each written once: what a copy lacks of one it lacks for good. And packets. */
const LOAD =
  'while :; do ping -c 1 -W 1 10.0.2.2 >/dev/null; sleep 0.05; done & talk=$!\n' +
  'for n in 1 2 3; do (i=0; while [ $i -lt 8 ]; do i=$((i+1)); ' +
  'dd if=/dev/urandom of=/data/f$n-$i bs=64k count=8 2>/dev/null; sync; done) & ' +
  'load="$load $!"; done; wait $load; echo load-$((1))-done\n';
const LOADED = 'load-1-done';

/** A copy of the disk, and the checkpoint that goes with it. */
interface Joining {
  readonly copy: string;
  readonly point: Point;
}

const dir = scratch('checkpoint-request');
const guest = await referenceGuest();
const qemu = await findQemu();
const slow = new SlowWrites(dir, WRITE_MS);
const image = join(dir, 'disk.raw');
const out = join(dir, 'recording');
const paths = recordingPaths(out);
const busy = { copy: join(dir, 'busy.raw'), point: POWER_ON.point };
const idle = { copy: join(dir, 'idle.raw'), point: POWER_ON.point };
/** Clusters that the host was writing to at the mark, and nobody has since. */
let atRisk: number[] = [];

async function until(what: string, isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + 120_000;
  while (!isSo()) {
    if (Date.now() > endMs) throw new Error(`never: ${what}`);
    await sleep(1);
  }
}

async function mark(ring: ExitRing): Promise<void> {
  const wanted = ring.requestDiskMark();
  await until('the mark is answered', () => ring.status().diskMarksDone >= wanted);
}

/** @returns where it stands */
async function checkpoint(ring: ExitRing): Promise<Point> {
  const before = ring.status();
  const wanted = ring.requestCheckpoint();
  await until('the checkpoint is answered', () => ring.status().checkpointsAnswered >= wanted);
  const after = ring.status();
  assert.is(after.checkpointFailures, before.checkpointFailures);
  assert.is(after.checkpoints, before.checkpoints + 1n);
  return after.checkpoint;
}

/** The recorder, and its ring, which it keeps to itself. */
async function record(
  printed: (bytes: Buffer) => void,
  onWarning: (text: string) => void,
): Promise<{ recorder: Recorder; ring: ExitRing }> {
  execFileSync('cp', ['--sparse=always', guest.disk_template, image]);
  const append = `${guest.append} us.run=shell us.disk=1 us.ip=10.0.2.15/24 us.gw=10.0.2.2`;
  const lines = [
    'name = "request"',
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(append)}`,
    '[[disk]]',
    'image = "disk.raw"',
    '[[nic]]',
    'user = true',
  ];
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
  const rings: ExitRing[] = [];
  const { spawn } = QemuProcess;
  QemuProcess.spawn = (options) => {
    rings.push(options.ring as ExitRing);
    return spawn.call(QemuProcess, options);
  };
  Object.assign(process.env, slow.env);
  try {
    const options = {
      config: loadConfig(join(dir, 'VM.toml')),
      out,
      qemu,
      logger: silentLogger(),
      onConsole: printed,
      onWarning,
      digestEvery: DIGEST_EVERY,
      checkpoints: { ...ON_REQUEST, chainMax: 0 },
    };
    const recorder = await Recorder.start(options, () => false);
    return { recorder, ring: rings[0] as ExitRing };
  } finally {
    for (const name of Object.keys(slow.env)) delete process.env[name];
    QemuProcess.spawn = spawn;
  }
}

/**
 * Marks and copies until a mark has found a write unfinished that the copy lacks: one of a
 * file's data, which is long. What is short is the journal and its like, written again soon.
 */
async function markAndCopyUnderLoad(ring: ExitRing, copy: string): Promise<Write[]> {
  for (let n = 0; n < MARKS_MAX; n++) {
    const askedNs = process.hrtime.bigint();
    await mark(ring);
    rmSync(copy, { force: true });
    await copySparse(image, copy);
    const copiedNs = process.hrtime.bigint();
    await sleep(1.5 * WRITE_MS); // until they are in the list
    const unfinished = slow
      .list()
      .filter(({ fromNs, toNs }) => fromNs < askedNs && toNs > copiedNs);
    if (unfinished.some(({ bytes }) => bytes >= 2 * CLUSTER_BYTES)) return unfinished;
  }
  throw new Error(`${MARKS_MAX} marks have found no write of data unfinished`);
}

/** Clusters of `writes` to which no later write went. */
function neverWrittenAgain(writes: readonly Write[]): number[] {
  const lastNs = new Map<number, bigint>();
  for (const write of slow.list()) {
    for (const at of clustersOf([write], CLUSTER_BYTES)) lastNs.set(at, write.fromNs);
  }
  const newest = writes.reduce((ns, { fromNs }) => (fromNs > ns ? fromNs : ns), 0n);
  return [...clustersOf(writes, CLUSTER_BYTES)].filter((at) => (lastNs.get(at) ?? 0n) <= newest);
}

function replayFrom(recording: string, from: Point | null): Promise<ReplayResult> {
  const options = {
    dir: recording,
    qemu,
    logger: silentLogger(),
    verify: true,
    until: null,
    from,
    unchecked: true, // its disk is not the one at power-on: that is the point
    onConsole: () => {},
    onProgress: () => {},
  } as const;
  return replay(options, new AbortController().signal);
}

/** From the copy and the checkpoint to the end that the recording had. */
async function verify(recording: string, { copy, point }: Joining): Promise<void> {
  copyFileSync(copy, join(recording, 'disks', '0.raw'));
  const result = await replayFrom(recording, point);
  assert.is(result.startedAt, point);
  assert.is(result.stoppedAt, 'end');
  assert.is(result.digest, openRecording(recording).end?.digest);
  assert.ok(result.consoleIdentical);
  assert.ok(result.disksIdentical, `the disk differs, from the checkpoint at ${nameOf(point)}`);
}

requests('a copy of the disk under load, then a checkpoint, while the VM runs', async () => {
  let printed = '';
  const warnings: string[] = [];
  const { recorder, ring } = await record(
    (bytes) => {
      printed += bytes.toString('latin1');
    },
    (text) => warnings.push(text),
  );
  await until('the shell', () => printed.includes('guest# '));
  recorder.input.type(Buffer.from(LOAD));
  await until('the load', () => slow.list().length > 20);
  const unfinished = await markAndCopyUnderLoad(ring, busy.copy);
  busy.point = await checkpoint(ring);
  assert.not.ok(printed.includes(LOADED), 'the load ran meanwhile');
  await until('the end of the load', () => printed.includes(LOADED));
  recorder.input.type(Buffer.from('kill $talk\n'));
  await sleep(1000);

  const askedMs = Date.now();
  for (let n = 0; n < 10; n++) await mark(ring);
  assert.ok(Date.now() - askedMs < 500, 'an idle guest is woken for each of ten marks');
  await copySparse(image, idle.copy);
  idle.point = await checkpoint(ring);
  recorder.input.type(Buffer.from('echo after > /data/after; sync; exit\n'));
  await recorder.finished;
  assert.equal(warnings, []);
  atRisk = neverWrittenAgain(unfinished);
});

requests('its manifest: full, with no parent; of the disk only what the mark left', () => {
  assert.ok(atRisk.length > 0, 'every unfinished write was overwritten: this proves nothing');
  for (const { point } of [busy, idle]) {
    const manifest = readManifest(join(paths.checkpoints, keyOf(point)));
    assert.is(manifest.kind, 'full');
    assert.is(manifest.parent, null);
    assert.is(manifest.point, point);
    assert.ok(manifest.pause_ns < 100e6, `the guest stood still for ${manifest.pause_ns} ns`);
  }
  const diskBytes = ({ point }: Joining): number =>
    statSync(join(paths.checkpoints, keyOf(point), 'disk0')).size;
  assert.ok(diskBytes(busy) > atRisk.length * CLUSTER_BYTES);
  assert.ok(diskBytes(idle) < 1e6, 'an idle guest writes next to nothing after the mark');
});

requests('a replay from power-on takes the same form at its records', async () => {
  const result = await replayFrom(out, null);
  assert.is(result.digest, openRecording(out).end?.digest);
  assert.ok(result.disksIdentical);
});

requests('from the copy under load: the same end, byte for byte', () => verify(out, busy));

requests('from the copy of an idle guest', () => verify(out, idle));

/** Alone, then with a backup whose acks do not come for a while; twice: nothing latches. */
async function protectAgain(ring: ExitRing, courier: Courier): Promise<void> {
  const held = (): bigint => ring.status().outputs - ring.status().outputsReleased;
  for (let n = 0; n < 2; n++) {
    courier.closeGate();
    const { outputs } = ring.status();
    await until('the guest talks', () => ring.status().outputs > outputs + 3n);
    await until('alone, all of it leaves', () => held() === 0n);
    ring.clearControl(CONTROL.DETACHED);
    await sleep(20);
    const { outputsReleased } = ring.status();
    await until('packets are held', () => held() > 0n);
    await sleep(200);
    assert.is(ring.status().outputsReleased, outputsReleased);
    courier.reopenGate();
    await until('what is committed leaves', () => held() === 0n);
    ring.control(CONTROL.DETACHED);
  }
}

/** A folder like the recording, for what the survivor does from there on. */
async function finishSurvivor(survivor: string, console: Buffer, disk: string): Promise<void> {
  const its = recordingPaths(survivor);
  const end = await readLogEnd(its.log);
  assert.ok(end !== null);
  writeFileSync(its.console, console);
  writeJson(its.end, {
    reason: end.reason,
    ...positionFields(end),
    digest: end.digest,
    disks: await hashDisks([disk]),
    records: 0,
    batches: 0,
    log_bytes: 0,
    console_bytes: console.length,
    wall_s: 0,
  });
}

/** A replay that begins at the busy guest's checkpoint, on its copy of the disk. */
async function replicaOf(disk: string, checkpoints: string) {
  const recording = openRecording(out);
  const start = await findStart(recording, busy.point, (text) => assert.unreachable(text));
  assert.ok(start !== null);
  mkdirSync(dirname(disk));
  await copySparse(busy.copy, disk);
  await applyDisks(start.chain, [disk]);
  const replica = await Machine.start({
    config: recording.config,
    qemu,
    logger: silentLogger(),
    args: {
      mode: 'replay',
      rtcBase: recording.manifest.rtc_base,
      net: 'configured',
      diskImages: [disk],
      digestEvery: DIGEST_EVERY,
      checkpoints: { dir: checkpoints, numbers: ON_REQUEST },
    },
    origin: originOf(start, dirname(disk)),
  });
  return { replica, start: start.entrance };
}

requests('a replica that began there goes live, and is asked for one itself', async () => {
  const survivor = join(dir, 'survivor');
  const its = recordingPaths(survivor);
  cpSync(out, survivor, { recursive: true });
  for (const path of [its.log, its.checkpoints, its.console, its.end]) {
    rmSync(path, { recursive: true });
  }
  const disk = join(dir, 'replica', 'disk.raw');
  const { replica, start } = await replicaOf(disk, its.checkpoints);
  const { ring } = replica;
  const vmId = Buffer.from(openRecording(out).manifest.vm_id, 'hex');
  const { t, give, replayed, goOn } = await carry(ring, its.log, { vmId, start });
  const early = ring.requestDiskMark();
  let last = 0n;
  const middle = advance(busy.point, distance(busy.point, idle.point) / 2n);
  for await (const { batch } of new LogReader(paths.log)) {
    const { horizon, ...first } = batch.header;
    if (first.recordBase < start.recordBase) continue;
    // Its primary dies in the middle of the load.
    if (comparePoints(horizon.point, middle) > 0) break;
    await give(batch.frame);
    last = first.sequence;
  }
  await replayed(last);
  assert.is(ring.status().diskMarksDone, 0n, 'a replay answers no mark');
  assert.ok(ring.status().outputsReleased > 0n, 'what left before the checkpoint counts');
  ring.control(CONTROL.GO_LIVE | CONTROL.DETACHED);
  await until('it is live', () => ring.status().state === 'recording');
  await until('the mark asked for before', () => ring.status().diskMarksDone >= early);

  goOn();
  await protectAgain(ring, t.courier);
  await mark(ring);
  const again = { copy: join(dir, 'again.raw'), point: POWER_ON.point };
  await copySparse(disk, again.copy);
  again.point = await checkpoint(ring);
  await until('the rest of the load', () => t.console.includes(LOADED));
  new ConsoleInput(ring).type(Buffer.from('echo alive-$((1+1)); echo x > /data/x; sync; exit\n'));
  const exit = await replica.exited;
  assert.is(exit.reason, 'ended', exit.stderr);
  assert.is(exit.stderr, '');
  await t.courier.flush();
  await t.courier.close();
  t.courier.destroy();
  await replica.end();
  assert.equal([t.failed, t.broken], [[], []]);
  assert.ok(t.console.includes('alive-2'));
  await finishSurvivor(survivor, Buffer.from(t.console, 'latin1'), disk);
  await verify(survivor, again);
});

requests.run();
