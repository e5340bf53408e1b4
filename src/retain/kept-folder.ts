// SPDX-License-Identifier: Apache-2.0
/**
 * The files of a recording of which the oldest part is deleted: what they take, and how
 * they go. Nothing goes before the checkpoint at which a replay then starts has been read
 * back whole, and found in the log.
 */
import { execFile } from 'node:child_process';
import { type Dirent, existsSync } from 'node:fs';
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { keyOf, nameOf, type Point } from '../base/position.ts';
import { type Chain, CheckpointChains } from '../checkpoint/chains.ts';
import type { CheckpointManifest } from '../checkpoint/manifest.ts';
import { findEntrance } from '../checkpoint/start.ts';
import { findSegment } from '../log/find-segment.ts';
import { listSegments } from '../log/segment.ts';
import type { Recording } from '../recording/folder.ts';
import { writeRetained } from '../recording/retained.ts';
import { ConsoleBytes } from './console-bytes.ts';
import type { Kept, KeptView } from './keeper.ts';
import type { SizedGeneration } from './space.ts';

interface KeptGeneration extends SizedGeneration {
  /** Null: it begins at power-on. */
  readonly manifest: CheckpointManifest | null;
  readonly points: readonly Point[];
}

export class KeptFolder implements Kept {
  readonly #recording: Recording;
  readonly #onWarning: (text: string) => void;
  readonly #chains: CheckpointChains;
  /** By full checkpoint: the segment that has it. */
  readonly #firsts = new Map<string, number>();
  /** Sizes of segments that are written to no more. */
  readonly #segmentBytes = new Map<number, number>();
  readonly #console: ConsoleBytes;
  #generations: readonly KeptGeneration[] = [];
  #punched = 0;
  /** When the recording began. */
  readonly begunMs: number;

  /** @param onWarning told what is not as it should be, but keeps nothing from being deleted */
  constructor(recording: Recording, onWarning: (text: string) => void) {
    this.#recording = recording;
    this.#chains = new CheckpointChains(recording.paths.checkpoints);
    this.#onWarning = onWarning;
    this.begunMs = Date.parse(recording.manifest.created);
    this.#console = new ConsoleBytes(recording);
  }

  async view(): Promise<KeptView> {
    const partialBytes = await this.#partialBytes();
    const chains = await this.#chains.list();
    const segments = await this.#segments();
    const lastSegment = [...segments.keys()].at(-1) ?? 0;
    const { begunMs } = this;
    const isWhole = !existsSync(this.#recording.paths.retained);
    const firsts: number[] = isWhole ? [1] : [];
    for (const [at, { full }] of chains.entries()) {
      let first = this.#firsts.get(keyOf(full.point));
      if (first === undefined) {
        first = await findSegment(this.#recording.paths.log, full.ordinal);
        // The newest one's segment may still be written to.
        if (at < chains.length - 1) this.#firsts.set(keyOf(full.point), first);
      }
      firsts.push(first);
    }
    const looseBytes = await this.#console.uncounted(lastSegment);
    const logBytes = firsts.map(() => 0);
    for (const [index, bytes] of segments) {
      const after = firsts.findIndex((first) => first > index);
      const owner = Math.max(0, after === -1 ? firsts.length - 1 : after - 1);
      logBytes[owner] = (logBytes[owner] ?? 0) + bytes + this.#console.of(index);
    }
    const [fromPowerOn = 0] = logBytes;
    this.#generations = [
      ...(isWhole ? [powerOn(fromPowerOn, begunMs)] : []),
      ...chains.map((chain, at) => generationOf(chain, logBytes[at + (isWhole ? 1 : 0)] ?? 0)),
    ];
    return { generations: this.#generations, partialBytes, looseBytes };
  }

  async forgetOldest(count: number): Promise<string | null> {
    const { paths, manifest } = this.#recording;
    const first = this.#generations[count]?.manifest;
    if (first == null) return null;
    const problem = await this.#chains.problemOf(first);
    const vmId = Buffer.from(manifest.vm_id, 'hex');
    const batch = problem === null ? await findEntrance(paths.log, vmId, first) : null;
    if (batch === null) return notUsable(first, problem ?? 'the log does not have it');
    const consoleFrom = await this.#console.before(batch.segment);
    writeRetained(paths.retained, {
      from: first.point,
      fromSegment: batch.segment,
      consoleFrom,
    });
    for (const { points } of this.#generations.slice(0, count)) {
      await this.#chains.forgetChain(points);
      for (const point of points) this.#firsts.delete(keyOf(point));
    }
    for (const { file, index } of await listSegments(paths.log)) {
      if (index >= batch.segment) continue;
      await unlink(file);
      this.#segmentBytes.delete(index);
    }
    this.#console.begin(batch.segment, consoleFrom);
    await this.#punch(consoleFrom);
    return null;
  }

  async forgetNewest(count: number): Promise<void> {
    const points = this.#generations.at(-1)?.points ?? [];
    await this.#chains.forgetChain(points.slice(1).slice(-count));
  }

  /** Bytes by number of the segment, in order. */
  async #segments(): Promise<Map<number, number>> {
    const found = new Map<number, number>();
    const all = await listSegments(this.#recording.paths.log);
    for (const [at, { file, index }] of all.entries()) {
      const known = this.#segmentBytes.get(index);
      const { size, blocks } = known === undefined ? await stat(file) : { size: known, blocks: 0 };
      const bytes = Math.max(size, blocks * 512);
      if (at < all.length - 1) this.#segmentBytes.set(index, bytes);
      found.set(index, bytes);
    }
    return found;
  }

  /** Bytes of checkpoints that are being written or deleted. */
  async #partialBytes(): Promise<number> {
    const { checkpoints } = this.#recording.paths;
    const entries = existsSync(checkpoints) ? await readdir(checkpoints) : [];
    let bytes = 0;
    for (const name of entries.filter((entry) => entry.endsWith('.partial'))) {
      const dir = join(checkpoints, name);
      const files: Dirent[] = await readdir(dir, { withFileTypes: true }).catch(() => []);
      for (const { name: file } of files) {
        // It may be committed, or gone, by now.
        const { size, blocks } = await stat(join(dir, file)).catch(() => ({ size: 0, blocks: 0 }));
        bytes += Math.max(size, blocks * 512);
      }
    }
    return bytes;
  }

  /** Gives the file system back what nothing compares any more; offsets stay. */
  async #punch(bytes: number): Promise<void> {
    if (bytes <= this.#punched) return;
    this.#punched = bytes;
    const words = ['--punch-hole', '--offset', '0', '--length', String(bytes)];
    try {
      await promisify(execFile)('fallocate', [...words, this.#recording.paths.console]);
    } catch (error) {
      this.#punched = Number.POSITIVE_INFINITY; // said once
      this.#onWarning(`console.log keeps its size on disk: ${messageOf(error)}`);
    }
  }
}

export function notUsable({ point }: CheckpointManifest, why: string): string {
  return `the checkpoint at ${nameOf(point)} is not usable, so older ones stay: ${why}`;
}

function powerOn(logBytes: number, createdMs: number): KeptGeneration {
  return {
    manifest: null,
    points: [],
    full: null,
    createdMs,
    checkpoints: 0,
    bytes: logBytes,
    fullBytes: 0,
    ramBytes: 0,
    diskBytes: 0,
    incremental: [],
  };
}

/** @param logBytes up to the next chain's full one */
export function generationOf(chain: Chain, logBytes: number): KeptGeneration {
  const { full, points, sized, ramBytes, diskBytes } = chain;
  return {
    manifest: full,
    points,
    full: full.point,
    createdMs: Date.parse(full.created_at),
    checkpoints: points.length,
    bytes: sized.reduce((sum, bytes) => sum + bytes, logBytes),
    fullBytes: sized[0] ?? 0,
    ramBytes,
    diskBytes,
    incremental: sized.slice(1),
  };
}
