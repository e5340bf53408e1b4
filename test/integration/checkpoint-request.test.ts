// SPDX-License-Identifier: Apache-2.0
/**
 * What a new backup of a running VM starts from: a copy of its disk, made while the guest
 * writes to it, and a checkpoint that was asked for. From these two, and not from the disk
 * at power-on, a replay must get to the same end.
 *
 *   npm test integration/checkpoint-request
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL, Courier, type CourierEvents, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { RECORDER_SEAL } from '../../src/epochs/lockstep.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { ConsoleInput } from '../../src/record/console-input.ts';
import { readLogEnd } from '../../src/record/log-end.ts';
import { Recorder } from '../../src/record/recorder.ts';
import { openRecording, recordingPaths, writeJson } from '../../src/record/recording.ts';
import { applyDisks, findStart, writeChain } from '../../src/replay/checkpoint-start.ts';
import { readManifest } from '../../src/replay/checkpoints.ts';
import { type ReplayResult, replay } from '../../src/replay/replayer.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { copySparse, hashDisks } from '../../src/vm/disk.ts';
import { qemuArgs } from '../../src/vm/qemu-args.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { QemuProcess } from '../../src/vm/qemu-process.ts';
import { root, scratch } from '../lib/command.ts';
import { referenceGuest } from '../lib/workloads.ts';

const requests = suite('checkpoint on request');
const dir = scratch('checkpoint-request');
const ON_REQUEST = { everyIcount: 0, everyMs: 0 } as const;
const DIGEST_EVERY = 100_000_000;
const CLUSTER_BYTES = 65_536;
/** A copy of the disk takes less, so a write that begins before it ends after it. */
const WRITE_MS = 300;
const MARKS_MAX = 20;
/** Files, each written once: what is lost of one stays lost. */
const LOAD =
  'for n in 1 2 3; do (i=0; while [ $i -lt 12 ]; do i=$((i+1)); ' +
  'dd if=/dev/urandom of=/data/f$n-$i bs=64k count=8 2>/dev/null; sync; done) & done; ' +
  'wait; echo load-$((1))-done\n';

interface Write {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly offset: number;
  readonly bytes: number;
}

/** A copy of the disk, and the checkpoint that goes with it. */
interface Joining {
  readonly copy: string;
  readonly icount: bigint;
}

const guest = await referenceGuest();
const qemu = await findQemu();
const image = join(dir, 'disk.raw');
const out = join(dir, 'recording');
const paths = recordingPaths(out);
const writeLog = join(dir, 'writes');

function writes(): Write[] {
  if (!existsSync(writeLog)) return [];
  const lines = readFileSync(writeLog, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [fromNs = '0', toNs = '0', offset, bytes] = line.split(' ');
    return {
      fromNs: BigInt(fromNs),
      toNs: BigInt(toNs),
      offset: Number(offset),
      bytes: Number(bytes),
    };
  });
}

function clustersOf(list: readonly Write[]): Set<number> {
  const clusters = new Set<number>();
  for (const { offset, bytes } of list) {
    const end = offset + bytes;
    for (let at = Math.floor(offset / CLUSTER_BYTES); at * CLUSTER_BYTES < end; at++) {
      clusters.add(at);
    }
  }
  return clusters;
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + 60_000;
  while (!isSo()) {
    if (Date.now() > endMs) throw new Error(`never: ${what}`);
    await sleep(1);
  }
}

async function mark(ring: ExitRing): Promise<void> {
  const wanted = ring.requestDiskMark();
  await until('the mark is answered', () => ring.status().diskMarksDone >= wanted);
}

/** @returns its icount */
async function checkpoint(ring: ExitRing): Promise<bigint> {
  const before = ring.status();
  const wanted = ring.requestCheckpoint();
  await until('the checkpoint is answered', () => ring.status().checkpointsAnswered >= wanted);
  const after = ring.status();
  assert.is(after.checkpointFailures, before.checkpointFailures);
  assert.is(after.checkpoints, before.checkpoints + 1n);
  return after.checkpointIcount;
}

function replayFrom(recording: string, from: bigint | null): Promise<ReplayResult> {
  return replay(
    {
      dir: recording,
      qemu,
      logger: silentLogger(),
      verify: true,
      until: null,
      from,
      unchecked: true, // its disk is another one than at power-on: that is the point
      onConsole: () => {},
      onProgress: () => {},
    },
    new AbortController().signal,
  );
}

/** From the copy and the checkpoint to the end that the recording had. */
async function verify(recording: string, { copy, icount }: Joining): Promise<void> {
  copyFileSync(copy, join(recording, 'disks', '0.raw'));
  const result = await replayFrom(recording, icount);
  assert.is(result.startedAt, icount);
  assert.is(result.stoppedAt, 'end');
  assert.is(result.digest, openRecording(recording).end?.digest);
  assert.ok(result.consoleIdentical);
  assert.ok(result.disksIdentical, `the disk differs, from the checkpoint at icount ${icount}`);
}

const busy = { copy: join(dir, 'busy.raw'), icount: 0n };
const idle = { copy: join(dir, 'idle.raw'), icount: 0n };
/** The marks that count found these unfinished, and nobody wrote there again. */
let atRisk: number[] = [];

requests(
  'a copy of the disk under load, then a checkpoint: answered while the VM runs',
  async () => {
    execFileSync('cp', ['--sparse=always', guest.disk_template, image]);
    const append = `${guest.append} us.run=shell us.disk=1`;
    const lines = ['name = "request"', `kernel = ${JSON.stringify(guest.kernel)}`];
    lines.push(`initrd = ${JSON.stringify(guest.initrd)}`, `append = ${JSON.stringify(append)}`);
    lines.push('[[disk]]', 'image = "disk.raw"', '');
    writeFileSync(join(dir, 'VM.toml'), lines.join('\n'));
    const library = join(dir, 'slow-write.so');
    const source = join(root, 'test/lib/slow-write.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O', '-o', library, source]);

    let ring: ExitRing | null = null;
    const { spawn } = QemuProcess;
    QemuProcess.spawn = (options) => {
      ring = options.ring as ExitRing; // the recorder's own
      return spawn.call(QemuProcess, options);
    };
    const slow = { LD_PRELOAD: library, SLOW_WRITE_MS: `${WRITE_MS}`, SLOW_WRITE_LOG: writeLog };
    Object.assign(process.env, slow);
    let printed = '';
    const warnings: string[] = [];
    const recorder = await Recorder.start(
      {
        config: loadConfig(join(dir, 'VM.toml')),
        out,
        qemu,
        logger: silentLogger(),
        onConsole: (bytes) => {
          printed += bytes.toString('latin1');
        },
        onWarning: (text) => warnings.push(text),
        digestEvery: DIGEST_EVERY,
        checkpoints: { ...ON_REQUEST, chainMax: 0 },
      },
      () => false,
    );
    for (const name of Object.keys(slow)) delete process.env[name];
    QemuProcess.spawn = spawn;
    assert.ok(ring !== null);
    const vm: ExitRing = ring;

    await until('the shell', () => printed.includes('guest# '));
    recorder.input.type(Buffer.from(LOAD));
    await until('the load', () => writes().length > 20);
    let unfinished: Write[] = [];
    for (let n = 0; unfinished.length === 0; n++) {
      assert.ok(n < MARKS_MAX, `${n} marks found no write unfinished`);
      const askedNs = process.hrtime.bigint();
      await mark(vm);
      rmSync(busy.copy, { force: true });
      await copySparse(image, busy.copy);
      const copiedNs = process.hrtime.bigint();
      await sleep(1.5 * WRITE_MS); // until the log has them
      unfinished = writes().filter(({ fromNs, toNs }) => fromNs < askedNs && toNs > copiedNs);
    }
    busy.icount = await checkpoint(vm);
    assert.not.ok(printed.includes('load-1-done'), 'the load ran meanwhile');
    await until('the end of the load', () => printed.includes('load-1-done'));
    await sleep(500);

    await mark(vm);
    await copySparse(image, idle.copy);
    const askedMs = Date.now();
    idle.icount = await checkpoint(vm);
    assert.ok(Date.now() - askedMs < 5000, 'an idle guest is woken for it');
    recorder.input.type(Buffer.from('echo after > /data/after; sync; exit\n'));
    await recorder.finished;

    const lastOf = new Map<number, bigint>();
    for (const write of writes()) {
      for (const cluster of clustersOf([write])) {
        lastOf.set(cluster, write.fromNs);
      }
    }
    const firstNs = Math.max(...unfinished.map(({ fromNs }) => Number(fromNs)));
    atRisk = [...clustersOf(unfinished)].filter((at) => Number(lastOf.get(at)) <= firstNs);
    assert.equal(warnings, []);
  },
);

requests('its manifest: full, with no parent; of the disk only what the mark left', () => {
  assert.ok(atRisk.length > 0, 'every unfinished write was overwritten: this proves nothing');
  for (const { icount } of [busy, idle]) {
    const manifest = readManifest(join(paths.checkpoints, String(icount)));
    assert.is(manifest.kind, 'full');
    assert.is(manifest.parent, null);
    assert.is(manifest.icount, icount);
    assert.ok(manifest.pause_ns < 100e6, `the guest stood still for ${manifest.pause_ns} ns`);
  }
  const diskOf = ({ icount }: Joining): number =>
    statSync(join(paths.checkpoints, String(icount), 'disk0')).size;
  assert.ok(diskOf(busy) > atRisk.length * CLUSTER_BYTES);
  assert.ok(diskOf(idle) < 1_000_000, 'an idle guest writes next to nothing after the mark');
});

requests('a replay from power-on takes the same form at its records', async () => {
  const result = await replayFrom(out, null);
  assert.is(result.digest, openRecording(out).end?.digest);
  assert.ok(result.disksIdentical);
});

requests('from the copy under load: the same end, byte for byte', () => verify(out, busy));

requests('from the copy of an idle guest', () => verify(out, idle));

requests(
  'a replica that began at a checkpoint goes live, and is asked for one itself',
  async () => {
    const survivor = join(dir, 'survivor');
    const its = recordingPaths(survivor);
    const disk = join(dir, 'replica', 'disk.raw');
    mkdirSync(join(dir, 'replica'));
    cpSync(out, survivor, { recursive: true });
    for (const path of [its.log, its.checkpoints]) rmSync(path, { recursive: true });
    for (const path of [its.console, its.end]) rmSync(path);

    const recording = openRecording(out);
    const start = await findStart(recording, busy.icount, (text) => assert.unreachable(text));
    assert.ok(start !== null);
    await copySparse(busy.copy, disk);
    applyDisks(start, [disk]);
    const ring = new ExitRing();
    ring.startAt(start.batch.recordBase, start.batch.dataBase);
    const replica = await QemuProcess.spawn({
      binary: qemu.path,
      args: qemuArgs(recording.config, {
        mode: 'replay',
        rtcBase: recording.manifest.rtc_base,
        firmwareDir: qemu.firmwareDir,
        net: 'none',
        diskImages: [disk],
        digestEvery: DIGEST_EVERY,
        checkpoint: writeChain(start, join(dir, 'replica')),
        checkpoints: { dir: its.checkpoints, numbers: ON_REQUEST },
      }),
      ring,
      logger: silentLogger(),
    });
    const early = ring.requestDiskMark();
    for await (const { batch } of new LogReader(paths.log)) {
      const { recordBase, horizonIcount } = batch.header;
      if (recordBase < start.batch.recordBase) continue;
      // Then its primary dies, in the middle of the load.
      if (horizonIcount > (busy.icount + idle.icount) / 2n) break;
      while (!ring.fill(batch.frame, 0, batch.frame.length)) await sleep(1);
    }
    await until('the log is used up', () => ring.status().inPending === 0);
    assert.is(ring.status().diskMarksDone, 0n, 'a replay answers no mark');
    ring.control(CONTROL.GO_LIVE | CONTROL.DETACHED);
    await until('it is live', () => ring.status().state === 'recording');
    await until(
      'what was asked for before is answered',
      () => ring.status().diskMarksDone >= early,
    );

    const vmId = Buffer.from(recording.manifest.vm_id, 'hex');
    const log = new LogFile(its.log, { vmId, term: 2, qemuBuildId: qemu.buildId });
    let printed = Buffer.alloc(0);
    const failed = (...words: unknown[]): never => assert.unreachable(words.join(' ')) as never;
    const events: CourierEvents = {
      frame: failed,
      closed: failed,
      drained: failed,
      first: failed,
      logFailed: failed,
      broken: failed,
      progress: () => {},
      console: (bytes) => {
        printed = Buffer.concat([printed, bytes]);
      },
    };
    const courier = new Courier(ring, events);
    courier.ship({
      vmId,
      term: 2,
      sequence: 0n,
      prevChecksum: 0n,
      needsAck: false,
      durable: false,
      seal: RECORDER_SEAL,
      log: log.start,
    });
    await mark(ring);
    const again = { copy: join(dir, 'again.raw'), icount: 0n };
    await copySparse(disk, again.copy);
    again.icount = await checkpoint(ring);
    const input = new ConsoleInput(ring);
    await until('the rest of the load', () => printed.includes('load-1-done'));
    input.type(Buffer.from('echo alive-$((1+1)); echo after > /data/later; sync; exit\n'));
    const exit = await replica.exited;
    assert.is(exit.reason, 'ended', exit.stderr);
    assert.is(exit.stderr, '');
    await courier.flush();
    await courier.close();
    courier.destroy();
    ring.destroy();
    log.close();
    assert.ok(printed.includes('alive-2'));

    const end = await readLogEnd(its.log);
    assert.ok(end !== null);
    writeFileSync(its.console, printed);
    writeJson(its.end, {
      reason: end.reason,
      icount: end.icount,
      vtime_ns: end.vtimeNs,
      digest: end.digest,
      disks: await hashDisks([disk]),
      records: 0,
      batches: 0,
      log_bytes: 0,
      console_bytes: printed.length,
      wall_s: 0,
    });
    await verify(survivor, again);
  },
);

requests.run();
