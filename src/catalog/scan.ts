// SPDX-License-Identifier: Apache-2.0
/**
 * What the files of a recording say about it: the truth that the catalog indexes.
 * Reads only. A log that grows is read on from where it was read last.
 */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, type Stats } from 'node:fs';
import { join, relative } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { comparePoints, POWER_ON, type Position } from '../base/position.ts';
import { type CheckpointOutline, readOutlines } from '../checkpoint/manifest.ts';
import { readDigest } from '../log/batch.ts';
import { DIGEST_KIND, KIND } from '../log/kinds.ts';
import { digestText } from '../log/log-end.ts';
import { LogReader } from '../log/log-reader.ts';
import { isSegmentName, segmentName } from '../log/segment.ts';
import { openRecording, type Recording, recordingPaths } from '../recording/folder.ts';
import { isBeingRecorded } from '../recording/lock.ts';

/**
 * recording: its recorder runs; incomplete: it was killed, and the log is good up to
 * its last whole batch; damaged: the log or a file of it does not verify;
 * missing-files: some are gone; missing: the folder is gone (moved, or deleted).
 */
export type RunState =
  | 'recording'
  | 'complete'
  | 'incomplete'
  | 'damaged'
  | 'missing-files'
  | 'missing';

/** One file of the log, and what is in it. */
export interface SegmentFacts {
  readonly number: number;
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly batches: number;
  readonly records: number;
  /** At its end; null when it has no batch. */
  readonly horizon: Position | null;
  /** Times of the first and last seal, by the recording host's clock. */
  readonly firstSealedNs: bigint | null;
  readonly lastSealedNs: bigint | null;
}

export interface DigestFacts extends Position {
  readonly ordinal: bigint;
  readonly segment: number;
  readonly final: boolean;
  readonly digest: string;
}

export interface RunFacts {
  readonly dir: string;
  readonly state: Exclude<RunState, 'missing'>;
  readonly reason: string | null;
  readonly signature: string;
  /** Null when vm.json cannot be read. */
  readonly recording: Recording | null;
  /** All of the log's files; `digests` are those of the ones that were read now. */
  readonly segments: readonly SegmentFacts[];
  readonly digests: readonly DigestFacts[];
  /** First segment whose digests were read now. */
  readonly readFrom: number;
  readonly checkpoints: readonly CheckpointOutline[];
  /** Blocks on disk, of everything in the folder. */
  readonly diskBytes: number;
}

interface FoundFile {
  readonly path: string;
  readonly stats: Stats;
}

/** Every file below a folder; one that vanishes while they are listed is left out. */
export function filesBelow(dir: string): FoundFile[] {
  const found: FoundFile[] = [];
  const visit = (folder: string): void => {
    for (const name of readdirSync(folder).sort()) {
      const path = join(folder, name);
      const stats = lstatSync(path, { throwIfNoEntry: false });
      if (stats === undefined) continue;
      if (stats.isDirectory()) visit(path);
      else found.push({ path, stats });
    }
  };
  visit(dir);
  return found;
}

/** Changes with any file of the recording, its size or its time. */
export function signatureOf(dir: string): { signature: string; diskBytes: number } {
  const hash = createHash('sha256');
  let diskBytes = 0;
  for (const { path, stats } of filesBelow(dir)) {
    hash.update(`${relative(dir, path)}\0${stats.size}\0${stats.mtimeMs}\0`);
    diskBytes += stats.blocks * 512;
  }
  return { signature: hash.digest('hex'), diskBytes };
}

/**
 * Reads a recording's files.
 * @param dir canonical, and there
 * @param known segments that were read before, in order
 * @throws the system's error when the folder cannot be read
 */
export async function scanRun(dir: string, known: readonly SegmentFacts[]): Promise<RunFacts> {
  const paths = recordingPaths(dir);
  // Before the files are read: what changes while they are is then seen as changed.
  const { signature, diskBytes } = signatureOf(dir);
  let state: RunFacts['state'] = isBeingRecorded(paths) ? 'recording' : 'incomplete';
  let reason: string | null = null;
  let recording: Recording | null = null;
  const fault = (found: RunFacts['state'], why: string): void => {
    if (state === 'damaged' || state === 'missing-files') return;
    state = found;
    reason = why;
  };
  const missing = missingFiles(dir);
  if (missing.length > 0) fault('missing-files', `missing: ${missing.join(', ')}`);
  try {
    recording = openRecording(dir);
    // It may have ended since the lock was looked at.
    if (recording.end !== null && missing.length === 0) state = 'complete';
  } catch (error) {
    fault('damaged', messageOf(error));
  }
  const log = await scanLog(paths.log, known, recording?.retained?.fromSegment ?? 1);
  if (log.gap !== null) fault('missing-files', `missing: ${log.gap}`);
  if (log.fault !== null) fault('damaged', log.fault);
  const ended = recording?.end?.point ?? null;
  const { point } = log.segments.at(-1)?.horizon ?? POWER_ON;
  if (ended !== null && comparePoints(point, ended) < 0) {
    fault('damaged', 'the log ends before end.json says: batches are missing from its end');
  }
  return {
    dir,
    state,
    reason,
    signature,
    recording,
    segments: log.segments,
    digests: log.digests,
    readFrom: log.readFrom,
    checkpoints: readOutlines(recordingPaths(dir).checkpoints).outlines,
    diskBytes,
  };
}

/** Names, relative, of what a replay would need and that is not there. */
export function missingFiles(dir: string): string[] {
  const wanted = ['vm.json', 'VM.toml', 'log', 'console.log'];
  try {
    const { manifest, config } = openRecording(dir);
    for (const boot of [config.kernel, config.initrd]) {
      if (boot !== null) wanted.push(relative(dir, boot));
    }
    for (const index of manifest.disks.keys()) wanted.push(join('disks', `${index}.raw`));
  } catch {
    // told when it is opened
  }
  return wanted.filter((name) => !existsSync(join(dir, name)));
}

interface ScannedLog {
  readonly segments: SegmentFacts[];
  readonly digests: DigestFacts[];
  readonly readFrom: number;
  /** A file of the log that is not there. */
  readonly gap: string | null;
  readonly fault: string | null;
}

interface LogFileFacts {
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** The log's files, by number. */
function logFiles(dir: string): Map<number, LogFileFacts> {
  const files = new Map<number, LogFileFacts>();
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    const stats = lstatSync(join(dir, name), { throwIfNoEntry: false });
    if (!isSegmentName(name) || stats === undefined) continue;
    files.set(Number.parseInt(name, 10), { bytes: stats.size, mtimeMs: stats.mtimeMs });
  }
  return files;
}

/** From `first` on there is no gap; what a trim has yet to delete may be before it. */
function gapIn(numbers: readonly number[], first: number): string | null {
  const needed = numbers.filter((number) => number >= first);
  const gapAt = needed.findIndex((number, at) => number !== first + at);
  const lacking = needed.length === 0 ? first : gapAt < 0 ? null : first + gapAt;
  return lacking === null ? null : `log/${segmentName(lacking)}`;
}

/** Reads, and verifies, the log from the first file that is not as it was. */
async function scanLog(
  dir: string,
  known: readonly SegmentFacts[],
  first: number,
): Promise<ScannedLog> {
  const files = logFiles(dir);
  const numbers = [...files.keys()].sort((a, b) => a - b);
  const same = (before: SegmentFacts): boolean => {
    const now = files.get(before.number);
    return now?.bytes === before.bytes && now.mtimeMs === before.mtimeMs;
  };
  const gap = gapIn(numbers, first);
  const kept = new Map<number, SegmentFacts>();
  for (const number of numbers) {
    const before = known.find((segment) => segment.number === number);
    if (before === undefined || !same(before)) break;
    kept.set(number, before);
  }
  const readFrom = numbers.find((number) => !kept.has(number));
  const segments = [...kept.values()];
  if (readFrom === undefined) {
    return { segments, digests: [], readFrom: Number.MAX_SAFE_INTEGER, gap, fault: null };
  }
  const digests: DigestFacts[] = [];
  const read = new Map<number, SegmentFacts>();
  let fault: string | null = null;
  try {
    for await (const { batch, file } of new LogReader(dir, { fromIndex: readFrom, tail: 'torn' })) {
      const number = segmentNumber(file);
      const { header } = batch;
      const before = read.get(number) ?? {
        number,
        bytes: files.get(number)?.bytes ?? 0,
        mtimeMs: files.get(number)?.mtimeMs ?? 0,
        batches: 0,
        records: 0,
        firstSealedNs: header.sealedAtNs,
      };
      read.set(number, {
        ...before,
        firstSealedNs: before.firstSealedNs,
        batches: before.batches + 1,
        records: before.records + header.recordCount,
        horizon: header.horizon,
        lastSealedNs: header.sealedAtNs,
      });
      for (const { kind, channel, payload, ordinal, point, vtimeNs } of batch.records()) {
        if (kind !== KIND.DIGEST || payload === null) continue;
        const final = channel === DIGEST_KIND.FINAL;
        const digest = digestText(readDigest(payload));
        digests.push({ ordinal, segment: number, point, vtimeNs, final, digest });
      }
    }
  } catch (error) {
    fault = messageOf(error);
  }
  for (const number of numbers.filter((one) => one >= readFrom)) {
    segments.push(read.get(number) ?? { ...EMPTY, number, ...defaults(files.get(number)) });
  }
  return { segments, digests, readFrom, gap, fault };
}

const EMPTY = {
  batches: 0,
  records: 0,
  horizon: null,
  firstSealedNs: null,
  lastSealedNs: null,
} as const;

function defaults(file: LogFileFacts | undefined): LogFileFacts {
  return file ?? { bytes: 0, mtimeMs: 0 };
}

function segmentNumber(file: string): number {
  return Number.parseInt(file.slice(file.lastIndexOf('/') + 1), 10);
}
