// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy collect`: a recording of what one side of a pair keeps (past.ts). It is like
 * one whose recorder was killed: it has no END. What it is made of is only read, and it
 * may go on growing.
 */
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { charOut } from '../../native/kvm-exit-log/index.ts';
import { errorCodeOf, messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { writeJson } from '../base/json-file.ts';
import { comparePoints, keyOf, nameOf, POWER_ON, type Point, samePoint } from '../base/position.ts';
import { copyPrivately } from '../base/private-copy.ts';
import { CheckpointFinder, listCheckpoints, readManifest } from '../checkpoint/manifest.ts';
import { findEntrance } from '../checkpoint/start.ts';
import type { Start } from '../log/entrance.ts';
import { LogReader } from '../log/log-reader.ts';
import { listSegments } from '../log/segment.ts';
import { type TermStart, TermStarts } from '../log/terms.ts';
import { copySparse, hashDisks } from '../vm/disk.ts';
import { copyFirmware } from '../vm/firmware.ts';
import { checkOutput, recordingPaths } from './folder.ts';
import { lockIfPossible } from './lock.ts';
import { type KeptLog, pastFile } from './past.ts';
import { writeRetained } from './retained.ts';

export interface Collected {
  readonly dir: string;
  /** Where a replay starts; null: power-on. */
  readonly from: Point | null;
  /** Position up to which the log goes. */
  readonly to: Point;
  readonly checkpoints: number;
  /** The last of them began with a take-over that is in it, if there is more than one. */
  readonly terms: readonly TermStart[];
  readonly logBytes: number;
}

/**
 * @param out the folder to make; nothing is left of it when this throws
 * @param onWarning told each checkpoint that is damaged
 * @throws UnderstudyError no-history, output-exists, recording-in-use, disk-full, log-*
 */
export async function collect(
  kept: KeptLog,
  out: string,
  onWarning: (text: string) => void,
  aborted: AbortSignal,
): Promise<Collected> {
  checkOutput(out);
  // Its daemon deletes nothing from here on.
  const lock = lockIfPossible(pastFile(kept.dir), 'shared');
  if (lock === null) {
    throw new UnderstudyError(
      'recording-in-use',
      `old checkpoints are being deleted from ${kept.dir} at this moment: try again`,
    );
  }
  const existed = existsSync(out);
  try {
    const start = await findStart(kept, onWarning);
    aborted.throwIfAborted();
    return await copy(kept, start, out, aborted);
  } catch (error) {
    if (existed) for (const name of readdirSync(out)) rmSync(join(out, name), { recursive: true });
    else rmSync(out, { recursive: true, force: true });
    aborted.throwIfAborted();
    throw error;
  } finally {
    if (lock !== 'impossible') lock.release();
  }
}

/**
 * Where what is kept begins; null: at power-on.
 * @throws UnderstudyError no-history
 */
async function findStart(kept: KeptLog, onWarning: (text: string) => void): Promise<Start | null> {
  const segments = await listSegments(kept.log);
  const newest = segments.at(-1);
  const isWhole = segments[0]?.index === 1 && kept.begins === 'power-on';
  if (newest !== undefined && isWhole) {
    const { manifest, history_ms } = kept;
    const lastsMs = statSync(newest.file).mtimeMs - Date.parse(manifest.created);
    if (lastsMs <= history_ms) return null;
  }
  const oldest = await oldestFull(kept, onWarning);
  if (oldest !== null || isWhole) return oldest;
  throw new UnderstudyError(
    'no-history',
    `nothing that can be replayed is kept of ${kept.log}: it has no checkpoint yet, and one is ` +
      'made every 10 s',
  );
}

/** The oldest full checkpoint that is whole and in the log. */
async function oldestFull(kept: KeptLog, onWarning: (text: string) => void): Promise<Start | null> {
  const finder = new CheckpointFinder(kept.checkpoints);
  const vmId = Buffer.from(kept.manifest.vm_id, 'hex');
  for (const point of listCheckpoints(kept.checkpoints)) {
    try {
      const manifest = readManifest(join(kept.checkpoints, keyOf(point)));
      if (manifest.kind !== 'full') continue;
      const isWhole = await finder.isWhole(point);
      const entrance = isWhole ? await findEntrance(kept.log, vmId, manifest) : null;
      if (entrance !== null) return { point, entrance };
      if (isWhole) finder.reject(point, 'the log does not have it any more');
    } catch (error) {
      finder.reject(point, messageOf(error));
    }
    const reason = finder.rejected.findLast((one) => samePoint(one.point, point))?.reason;
    onWarning(`the checkpoint at ${nameOf(point)} is not used: ${reason}`);
  }
  return null;
}

async function copy(
  kept: KeptLog,
  start: Start | null,
  out: string,
  aborted: AbortSignal,
): Promise<Collected> {
  const paths = recordingPaths(out);
  const images = readdirIf(join(kept.dir, 'disks'));
  try {
    mkdirSync(paths.log, { recursive: true });
    if (images.length > 0) mkdirSync(join(out, 'disks'));
    for (const name of ['VM.toml', 'kernel', 'initrd']) {
      if (existsSync(join(kept.dir, name))) clone(join(kept.dir, name), join(out, name));
    }
    copyFirmware(recordingPaths(kept.dir).firmware, paths.firmware);
  } catch (cause) {
    throw writeError(`the recording ${paths.dir}`, cause);
  }
  const disks: string[] = [];
  for (let index = 0; index < images.length; index += 1) {
    const image = join(out, 'disks', `${index}.raw`);
    await copySparse(join(kept.dir, 'disks', `${index}.raw`), image, aborted);
    disks.push(image);
  }
  // First the checkpoints: the log, which is copied after them, has all of them.
  const from = start?.point ?? POWER_ON.point;
  const fromSegment = start?.entrance.segment ?? 1;
  const points = listCheckpoints(kept.checkpoints).filter((at) => comparePoints(at, from) >= 0);
  for (const point of points) {
    aborted.throwIfAborted();
    const into = join(paths.checkpoints, keyOf(point));
    const source = join(kept.checkpoints, keyOf(point));
    mkdirSync(into, { recursive: true });
    for (const name of readdirIf(source)) cloneOrThrow(join(source, name), join(into, name));
  }
  for (const { file, index } of await listSegments(kept.log)) {
    aborted.throwIfAborted();
    if (index >= fromSegment) cloneOrThrow(file, join(paths.log, basename(file)));
  }
  const log = await writeConsole(paths.log, paths.console, fromSegment, kept);
  if (start !== null) {
    writeRetained(paths.retained, { from: start.point, fromSegment, consoleFrom: 0 });
  }
  // Last: without it the folder is no recording.
  writeJson(paths.manifest, { ...kept.manifest, disks: await hashDisks(disks) });
  return {
    dir: paths.dir,
    from: start?.point ?? null,
    checkpoints: points.length,
    ...log,
  };
}

/** What the guest printed, from the log; verifies the log on the way. */
async function writeConsole(
  log: string,
  console: string,
  fromIndex: number,
  { manifest }: KeptLog,
): Promise<Pick<Collected, 'to' | 'terms' | 'logBytes'>> {
  const vmId = Buffer.from(manifest.vm_id, 'hex');
  const terms = new TermStarts();
  let to = POWER_ON.point;
  let logBytes = 0;
  const fd = openSync(console, 'wx', 0o644);
  try {
    // A daemon that was killed leaves half a batch, and one that runs writes one now.
    for await (const { batch } of new LogReader(log, { vmId, tail: 'torn', fromIndex })) {
      const bytes = charOut(batch.frame, 0, batch.frame.length);
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      } catch (cause) {
        throw writeError(console, cause);
      }
      to = batch.covered.point;
      terms.see(batch.header);
      logBytes += batch.bytes;
    }
  } finally {
    closeSync(fd);
  }
  return { to, terms: terms.list, logBytes };
}

/** Sharing blocks where the file system can. */
function clone(from: string, to: string): void {
  copyPrivately(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
}

function cloneOrThrow(from: string, to: string): void {
  try {
    clone(from, to);
  } catch (cause) {
    if (errorCodeOf(cause) !== 'ENOENT') throw writeError(to, cause);
    throw new UnderstudyError(
      'recording-in-use',
      `${from} was deleted meanwhile, being older than what is kept: try again`,
      { cause },
    );
  }
}

function readdirIf(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}
