// SPDX-License-Identifier: Apache-2.0
/**
 * `record --retain`: deletes the oldest checkpoints, and the log before the oldest that
 * is kept, while the VM runs. Nothing goes before the checkpoint at which a replay then
 * starts has been read back whole, and found in the log.
 *
 * And a daemon's `history`: checkpoints alone, its log is bounded by log_mib_max.
 */
import { execFile } from 'node:child_process';
import { rename, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { charOut } from '../../native/kvm-exit-log/index.ts';
import { messageOf } from '../base/errors.ts';
import { condemned, type Generation, type RetainLimits } from '../epochs/retention.ts';
import { findSegment } from '../log/find-segment.ts';
import { LogReader } from '../log/log-reader.ts';
import { listSegments } from '../log/segment.ts';
import { findBatch } from '../replay/checkpoint-start.ts';
import {
  CheckpointFinder,
  type CheckpointManifest,
  listCheckpoints,
  readManifest,
} from '../replay/checkpoints.ts';
import { type Recording, writeJson } from './recording.ts';
import type { Retained } from './retained.ts';

const LOOK_MS = 1000;

/** Checkpoints of which the log is trimmed elsewhere. */
export interface CheckpointFolder {
  readonly checkpoints: string;
  /** Held while some are deleted; null: somebody reads them, so not now. */
  hold(): { release(): void } | null;
}

interface Kept extends Generation {
  readonly full: CheckpointManifest;
  /** Of all its checkpoints, the full one first. */
  readonly icounts: readonly bigint[];
}

export class Trimmer {
  /** Null: checkpoints alone. */
  readonly #recording: Recording | null;
  readonly #checkpoints: string;
  readonly #hold: CheckpointFolder['hold'];
  readonly #limits: RetainLimits;
  readonly #onWarning: (text: string) => void;
  readonly #manifests = new Map<bigint, CheckpointManifest | null>();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | null = null;
  #newest: bigint | null = null;
  #retained: Retained | null;
  #told = new Set<string>();

  /** @param onWarning told, once, what keeps it from deleting */
  constructor(
    of: Recording | CheckpointFolder,
    limits: RetainLimits,
    onWarning: (text: string) => void,
  ) {
    this.#recording = 'paths' in of ? of : null;
    this.#checkpoints = 'paths' in of ? of.paths.checkpoints : of.checkpoints;
    this.#hold = 'paths' in of ? () => ({ release() {} }) : () => of.hold();
    this.#retained = this.#recording?.retained ?? null;
    this.#limits = limits;
    this.#onWarning = onWarning;
    this.#timer = setInterval(() => this.#start(), LOOK_MS);
    this.#timer.unref();
  }

  /** From now on nothing is deleted, but for what is being deleted now. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks a last time. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    this.#start();
    await this.#looking;
  }

  #start(): void {
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#warn(`nothing old is deleted: ${messageOf(error)}`))
      .finally(() => {
        this.#looking = null;
      });
  }

  #warn(text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.#onWarning(text);
  }

  async #look(): Promise<void> {
    const newest = listCheckpoints(this.#checkpoints).at(-1) ?? null;
    if (newest === this.#newest) return;
    this.#newest = newest;
    const generations = await this.#generations();
    const gone = condemned(generations, this.#limits, Date.now());
    if (gone === 0) return;
    const hold = this.#hold();
    if (hold === null) {
      this.#newest = null; // looks again in a second
      return;
    }
    try {
      await this.#trim(generations, gone);
    } finally {
      hold.release();
    }
  }

  async #generations(): Promise<Kept[]> {
    const log = this.#recording?.paths.log ?? null;
    const chains: { full: CheckpointManifest; icounts: bigint[]; bytes: number }[] = [];
    for (const icount of listCheckpoints(this.#checkpoints)) {
      const manifest = this.#manifestOf(icount);
      const last = chains.at(-1);
      if (manifest?.kind === 'full') {
        chains.push({ full: manifest, icounts: [icount], bytes: manifest.bytes });
      } else if (last !== undefined) {
        last.icounts.push(icount);
        last.bytes += manifest?.bytes ?? 0;
      }
    }
    const firsts: number[] = [];
    const bytesOf = new Map<number, number>();
    if (log !== null) {
      for (const { full } of chains) firsts.push(await findSegment(log, full.ordinal));
      for (const { file, index } of await listSegments(log)) {
        bytesOf.set(index, (await stat(file)).size);
      }
    }
    return chains.map(({ full, icounts, bytes: ofCheckpoints }, at) => {
      let bytes = ofCheckpoints;
      const end = firsts[at + 1] ?? Number.POSITIVE_INFINITY;
      for (const [index, size] of bytesOf) {
        if (index < end && (at === 0 || index >= (firsts[at] ?? 0))) bytes += size;
      }
      const createdMs = Date.parse(full.created_at);
      return { full, icounts, createdMs, checkpoints: icounts.length, bytes };
    });
  }

  /** Null: it is damaged, and goes with the others of its chain. */
  #manifestOf(icount: bigint): CheckpointManifest | null {
    const known = this.#manifests.get(icount);
    if (known !== undefined) return known;
    let manifest: CheckpointManifest | null = null;
    try {
      manifest = readManifest(join(this.#checkpoints, String(icount)));
    } catch {
      // whoever replays from it is told
    }
    this.#manifests.set(icount, manifest);
    return manifest;
  }

  async #trim(generations: readonly Kept[], gone: number): Promise<void> {
    const recording = this.#recording;
    const first = generations[gone]?.full;
    if (first === undefined) return;
    const finder = new CheckpointFinder(this.#checkpoints);
    const whole = (await finder.chainBefore(first.icount)).at(-1)?.manifest.icount === first.icount;
    const begins = whole && (recording === null || (await this.#begin(recording, first)));
    if (!begins) {
      const why = finder.rejected[0]?.reason ?? 'the log does not have it';
      this.#warn(
        `the checkpoint at icount ${first.icount} is not usable, so older ones stay: ${why}`,
      );
      return;
    }
    for (const { icounts } of generations.slice(0, gone)) {
      // The newest first: whenever this ends, each one left has the one it adds to.
      for (const icount of [...icounts].reverse()) await this.#forget(icount);
    }
    if (recording !== null) await this.#trimLog(recording);
  }

  /** It begins there from now on. @returns false: its log does not have that checkpoint */
  async #begin({ paths, manifest }: Recording, first: CheckpointManifest): Promise<boolean> {
    const batch = await findBatch(paths.log, Buffer.from(manifest.vm_id, 'hex'), first);
    if (batch === null) return false;
    this.#retained = {
      format: 1,
      from_icount: first.icount,
      from_segment: batch.segment,
      console_from: await this.#consoleBefore(paths.log, batch.segment),
    };
    writeJson(paths.retained, this.#retained);
    return true;
  }

  async #trimLog({ paths }: Recording): Promise<void> {
    const { from_segment = 0, console_from = 0 } = this.#retained ?? {};
    for (const { file, index } of await listSegments(paths.log)) {
      if (index < from_segment) await unlink(file);
    }
    await this.#punch(paths.console, console_from);
  }

  async #forget(icount: bigint): Promise<void> {
    const dir = join(this.#checkpoints, String(icount));
    const gone = join(this.#checkpoints, `.${icount}.partial`);
    await rename(dir, gone); // at once; `.partial` is none, and is removed at the end
    await rm(gone, { recursive: true });
    this.#manifests.delete(icount);
  }

  /** Bytes of the console that segments before this one cover. */
  async #consoleBefore(log: string, segment: number): Promise<number> {
    let bytes = this.#retained?.console_from ?? 0;
    const fromIndex = this.#retained?.from_segment ?? 1;
    const reader = new LogReader(log, { fromIndex, tail: 'torn' });
    for await (const { batch } of reader) {
      if ((reader.segment?.index ?? segment) >= segment) break;
      bytes += charOut(batch.frame, 0, batch.frame.length).length;
    }
    return bytes;
  }

  /** Gives the file system back what nothing compares any more; offsets stay. */
  async #punch(console: string, bytes: number): Promise<void> {
    if (bytes === 0) return;
    const words = ['--punch-hole', '--offset', '0', '--length', String(bytes)];
    try {
      await promisify(execFile)('fallocate', [...words, console]);
    } catch (error) {
      this.#warn(`console.log keeps its size on disk: ${messageOf(error)}`);
    }
  }
}
