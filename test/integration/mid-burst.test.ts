// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that sends many packets at one moment (an e1000 cuts what it is given into segments
 * within one instruction), and a primary that dies when some of them are in its log: the
 * backup executes that moment whole, so it sends the others itself, and they are the first
 * records of its own part of the log.
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeBatch } from '../../bench/stand-ins/batches.ts';
import { until } from '../../bench/stand-ins/courier.ts';
import { CONTROL } from '../../native/kvm-exit-log/index.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { comparePositions, icountOf } from '../../src/base/position.ts';
import type { Batch, BatchHeader, LogRecord } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { openRecording, type Recording } from '../../src/recording/folder.ts';
import { copySparse } from '../../src/vm/disk.ts';
import { Machine } from '../../src/vm/machine.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { carry } from '../lib/carried-log.ts';
import { scratch } from '../lib/command.ts';
import { recordAndReplay, referenceGuest, WORKLOADS } from '../lib/workloads.ts';

const burst = suite('a primary dies in the middle of a burst');

/** The log up to between two packets of one moment. */
interface Cut {
  readonly frames: readonly Uint8Array[];
  readonly last: bigint;
  readonly next: LogRecord;
}

async function cutIn({ paths }: Recording): Promise<Cut> {
  const frames: Uint8Array[] = [];
  let before: BatchHeader | null = null;
  for await (const { batch } of new LogReader(paths.log)) {
    const records = [...batch.records()];
    const at = records.findIndex((record, index) => isSameMoment(records[index - 1], record));
    const next = records[at];
    if (next !== undefined && before !== null) {
      frames.push(firstOf(batch, records.slice(0, at), before));
      return { frames, last: batch.header.sequence, next };
    }
    frames.push(Uint8Array.from(batch.frame));
    before = batch.header;
  }
  throw new Error('no two packets of one moment: this proves nothing');
}

function isSameMoment(one: LogRecord | undefined, two: LogRecord): boolean {
  if (one?.kind !== KIND.NET_OUT || two.kind !== KIND.NET_OUT) return false;
  return comparePositions(one, two) === 0;
}

/** As if it had been sealed before the others were there: with the horizon of before. */
function firstOf(batch: Batch, records: readonly LogRecord[], before: BatchHeader): Buffer {
  const { vmId, ...header } = batch.header;
  return writeBatch({
    ...header,
    vmId: Buffer.from(vmId, 'hex'),
    horizon: { icount: icountOf(before.horizon.point), vtimeNs: before.horizon.vtimeNs },
    records: records.map(({ point, payload, ...rest }) => ({
      ...rest,
      icount: icountOf(point),
      ...(payload === null ? {} : { payload }),
    })),
  });
}

burst('the backup sends the rest of it, and goes live', async () => {
  const dir = scratch('burst');
  const netperf = WORKLOADS.find(({ name }) => name === 'netperf');
  assert.ok(netperf !== undefined);
  const guest = await referenceGuest();
  const shape = { vcpus: 1, machine: 'pc', devices: 'legacy' } as const;
  const made = await recordAndReplay(netperf, { dir, guest, shape, seed: 1, netperfS: 1 });
  assert.ok(made.ok && made.skipped === undefined, made.failure ?? made.skipped);
  const recording = openRecording(join(dir, 'recording'));
  const { config, manifest, paths } = recording;
  const { frames, last, next } = await cutIn(recording);
  const diskImages = config.disks.map((_, index) => join(dir, `${index}.raw`));
  for (const [index, image] of diskImages.entries()) {
    await copySparse(join(paths.dir, 'disks', `${index}.raw`), image);
  }
  const machine = await Machine.start({
    config,
    qemu: await findQemu(),
    logger: silentLogger(),
    args: { mode: 'replay', rtcBase: manifest.rtc_base, net: 'none', diskImages },
  });
  try {
    const { ring } = machine;
    const vmId = Buffer.from(manifest.vm_id, 'hex');
    const log = join(dir, 'log');
    const { t, give, replayed, goOn } = await carry(ring, log, { vmId, start: null });
    for (const frame of frames) await give(frame);
    await replayed(last);
    ring.control(CONTROL.GO_LIVE | CONTROL.DETACHED);
    await until('it has decided', () => ring.status().state !== 'replaying', 60_000);
    const { state, error } = ring.status();
    assert.is(state, 'recording', error);
    goOn();
    await t.courier.flush();
    await t.courier.close();
    t.courier.destroy();
    assert.equal([t.failed, t.broken], [[], []]);
    const { ordinal, kind, arg, len } = next;
    const own = await recordAt(log, ordinal);
    assert.equal([own?.kind, own?.arg, own?.len], [kind, arg, len]);
    assert.is(own === null ? null : comparePositions(own, next), 0);
  } finally {
    await machine.end();
  }
});

async function recordAt(log: string, ordinal: bigint): Promise<LogRecord | null> {
  for await (const { batch } of new LogReader(log)) {
    const { recordBase, recordEnd } = batch.header;
    if (ordinal < recordEnd) return batch.record(Number(ordinal - recordBase));
  }
  return null;
}

burst.run();
