// SPDX-License-Identifier: Apache-2.0
/** A folder of checkpoints of which some are deleted: its chains, and what they take. */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { keyOf, type Point, samePoint } from '../base/position.ts';
import {
  CheckpointFinder,
  type CheckpointManifest,
  listCheckpoints,
  readManifest,
} from './manifest.ts';

/** A file takes whole blocks, and each checkpoint is a folder of files. */
const BLOCK_BYTES = 4096;

export interface Chain {
  readonly full: CheckpointManifest;
  /** Where all its checkpoints stand, the full one first. */
  readonly points: Point[];
  readonly sized: number[];
  ramBytes: number;
  diskBytes: number;
}

export class CheckpointChains {
  readonly dir: string;
  readonly #manifests = new Map<string, CheckpointManifest | null>();

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Oldest first. What is of no chain any more is deleted. */
  async list(): Promise<Chain[]> {
    const chains: Chain[] = [];
    for (const point of listCheckpoints(this.dir)) {
      const manifest = this.#manifestOf(point);
      let last = chains.at(-1);
      if (manifest?.kind === 'full') {
        last = { full: manifest, points: [], sized: [], ramBytes: 0, diskBytes: 0 };
        chains.push(last);
      } else if (
        last !== undefined &&
        manifest != null &&
        !samePoint(manifest.parent, last.points.at(-1) ?? null)
      ) {
        await this.forget(point); // what it adds to was deleted: KeptFolder.forgetNewest()
        continue;
      }
      if (last === undefined) continue;
      last.points.push(point);
      last.sized.push(takenBy(manifest));
      for (const { name, bytes } of manifest?.files ?? []) {
        if (name === 'ram') last.ramBytes += bytes;
        else if (name.startsWith('disk')) last.diskBytes += bytes;
      }
    }
    return chains;
  }

  /** Why a replay cannot start at this full one, or null. Reads all of it. */
  async problemOf({ point }: CheckpointManifest): Promise<string | null> {
    const finder = new CheckpointFinder(this.dir);
    return (await finder.isWhole(point)) ? null : (finder.rejected[0]?.reason ?? 'it is not there');
  }

  async forget(point: Point): Promise<void> {
    const gone = join(this.dir, `.${keyOf(point)}.partial`);
    await rename(join(this.dir, keyOf(point)), gone); // at once; `.partial` is none, and is removed at the end
    await rm(gone, { recursive: true });
    this.#manifests.delete(keyOf(point));
  }

  /** The newest first: whenever this ends, each one left has the one it adds to. */
  async forgetChain(points: readonly Point[]): Promise<void> {
    for (const point of [...points].reverse()) await this.forget(point);
  }

  /** Null: it is damaged, and goes with the others of its chain. */
  #manifestOf(point: Point): CheckpointManifest | null {
    const known = this.#manifests.get(keyOf(point));
    if (known !== undefined) return known;
    let manifest: CheckpointManifest | null = null;
    try {
      manifest = readManifest(join(this.dir, keyOf(point)));
    } catch {
      // a replay from it is told
    }
    this.#manifests.set(keyOf(point), manifest);
    return manifest;
  }
}

/** Bytes of its files and folder, in whole blocks. */
function takenBy(manifest: CheckpointManifest | null): number {
  const files = manifest?.files ?? [];
  const round = (bytes: number): number => Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
  return files.reduce((sum, { bytes }) => sum + round(bytes), 2 * BLOCK_BYTES);
}
