// SPDX-License-Identifier: Apache-2.0
/**
 * Where a replay starts: at power-on, or at the newest usable checkpoint at or before
 * a position. Also makes the disks as they were there.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { applyDisk } from '../../native/kvm-exit-log/index.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { errorCodeOf, UnderstudyError, writeError } from '../base/errors.ts';
import { hex64 } from '../base/format.ts';
import { comparePositions, keyOf, nameOf, type Point } from '../base/position.ts';
import type { FirstBatch, LogEntrance, Origin, Start } from '../log/entrance.ts';
import { findSegment } from '../log/find-segment.ts';
import { KIND } from '../log/kinds.ts';
import { LogReader } from '../log/log-reader.ts';
import {
  type Checkpoint,
  CheckpointFinder,
  type CheckpointManifest,
  readManifest,
} from './manifest.ts';

/** What a start needs of a recording (recording/folder.ts): log, checkpoints, and whose. */
export interface Recorded {
  readonly paths: { readonly log: string; readonly checkpoints: string };
  readonly manifest: { readonly vm_id: string };
}

/** A start with the checkpoints that it takes. */
export interface ChainStart extends Start {
  /** Full one first. */
  readonly chain: readonly Checkpoint[];
}

/**
 * The newest checkpoint at or before `point` that is whole and of this log; null:
 * start at power-on.
 * @param onWarning told each one that is not usable, and why
 */
export async function findStart(
  recording: Recorded,
  point: Point,
  onWarning: (text: string) => void,
): Promise<ChainStart | null> {
  const finder = new CheckpointFinder(recording.paths.checkpoints);
  let told = 0;
  const tell = (): void => {
    for (const { point: at, reason } of finder.rejected.slice(told)) {
      onWarning(`the checkpoint at ${nameOf(at)} is not used: ${reason}`);
    }
    told = finder.rejected.length;
  };
  for (;;) {
    const chain = await finder.chainBefore(point);
    const target = chain.at(-1);
    if (target === undefined) {
      tell();
      if (told > 0) onWarning('starting at power-on');
      return null;
    }
    const vmId = Buffer.from(recording.manifest.vm_id, 'hex');
    const entrance = await findEntrance(recording.paths.log, vmId, target.manifest);
    if (entrance !== null) {
      tell();
      if (told > 0) onWarning(`starting at the checkpoint at ${nameOf(target.manifest.point)}`);
      return { chain, point: target.manifest.point, entrance };
    }
    finder.reject(target.manifest.point, 'the log does not have it');
  }
}

/** What is told of a recording that begins at `begin` when findStart() finds nothing. */
export function noStart(
  paths: { readonly dir: string; readonly checkpoints: string },
  begin: Point,
): UnderstudyError {
  const where = `${paths.dir} begins at ${nameOf(begin)}`;
  try {
    readManifest(join(paths.checkpoints, keyOf(begin)));
  } catch (error) {
    if (errorCodeOf(error) === 'log-version') {
      const what = `${where}, at a checkpoint of a format that this version does not read`;
      return new UnderstudyError('log-version', `${what}: use the understudy that made it`);
    }
  }
  return new UnderstudyError('log-corrupt', `${where}, and no checkpoint from there on is whole`);
}

/**
 * The batch with the CHECKPOINT that the manifest describes; null: the log lacks it.
 * @param log its folder; it may still be written to
 */
export async function findEntrance(
  log: string,
  vmId: Buffer,
  manifest: CheckpointManifest,
): Promise<LogEntrance | null> {
  const segment = await findSegment(log, manifest.ordinal);
  const reader = new LogReader(log, {
    vmId,
    tail: 'torn',
    fromIndex: segment,
  });
  let seen = 0;
  for await (const { batch } of reader) {
    // The log of a quiet VM has many batches, and a daemon has heartbeats to send in between.
    seen += 1;
    if (seen % 256 === 0) await new Promise(setImmediate);
    const { sequence, prevChecksum, recordBase, recordCount, dataBase } = batch.header;
    if (recordBase + BigInt(recordCount) <= manifest.ordinal) continue;
    if (recordBase > manifest.ordinal) return null;
    const record = batch.record(Number(manifest.ordinal - recordBase));
    const fits =
      record.kind === KIND.CHECKPOINT &&
      comparePositions(record, manifest) === 0 &&
      hex64(record.arg) === manifest.digest;
    if (!fits) return null;
    const index = reader.segment?.index ?? segment;
    return { segment: index, sequence, prevChecksum, recordBase, dataBase };
  }
  return null;
}

/** What QEMU is started from, with the file that it reads: the chain's folders, a line each. */
export function originOf(
  { chain, entrance }: { chain: readonly Checkpoint[]; entrance: FirstBatch },
  scratch: string,
): Origin {
  const path = join(scratch, 'chain');
  writeFileSync(path, chain.map(({ dir }) => `${dir}\n`).join(''));
  return { entrance, chain: path };
}

/**
 * Brings copies of the disks, as they were when the chain's first one began to count, to
 * where they were at its last.
 * @throws UnderstudyError log-corrupt | log-write | disk-full
 */
export async function applyDisks(
  chain: readonly Checkpoint[],
  images: readonly string[],
): Promise<void> {
  for (const [index, image] of images.entries()) {
    for (const { dir } of chain) {
      try {
        await applyDisk(join(dir, `disk${index}`), image);
      } catch (error) {
        throw error instanceof CorruptLogError ? error : writeError(image, error);
      }
    }
  }
}
