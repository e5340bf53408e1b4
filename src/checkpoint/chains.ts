// SPDX-License-Identifier: Apache-2.0
/** A folder of checkpoints of which some are deleted: its chains, and what they take. */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
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
  /** Positions of all its checkpoints, the full one first. */
  readonly icounts: bigint[];
  readonly sized: number[];
  ramBytes: number;
  diskBytes: number;
}

export class CheckpointChains {
  readonly dir: string;
  readonly #manifests = new Map<bigint, CheckpointManifest | null>();

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Oldest first. What is of no chain any more is deleted. */
  async list(): Promise<Chain[]> {
    const chains: Chain[] = [];
    for (const icount of listCheckpoints(this.dir)) {
      const manifest = this.#manifestOf(icount);
      let last = chains.at(-1);
      if (manifest?.kind === 'full') {
        last = { full: manifest, icounts: [], sized: [], ramBytes: 0, diskBytes: 0 };
        chains.push(last);
      } else if (
        last !== undefined &&
        manifest != null &&
        manifest.parent !== last.icounts.at(-1)
      ) {
        await this.forget(icount); // what it adds to was deleted: KeptFolder.forgetNewest()
        continue;
      }
      if (last === undefined) continue;
      last.icounts.push(icount);
      last.sized.push(takenBy(manifest));
      for (const { name, bytes } of manifest?.files ?? []) {
        if (name === 'ram') last.ramBytes += bytes;
        else if (name.startsWith('disk')) last.diskBytes += bytes;
      }
    }
    return chains;
  }

  /** Why a replay cannot start at this full one, or null. Reads all of it. */
  async problemOf({ icount }: CheckpointManifest): Promise<string | null> {
    const finder = new CheckpointFinder(this.dir);
    const isWhole = (await finder.chainBefore(icount)).at(-1)?.manifest.icount === icount;
    return isWhole ? null : (finder.rejected[0]?.reason ?? 'it is not there');
  }

  async forget(icount: bigint): Promise<void> {
    const gone = join(this.dir, `.${icount}.partial`);
    await rename(join(this.dir, String(icount)), gone); // at once; `.partial` is none, and is removed at the end
    await rm(gone, { recursive: true });
    this.#manifests.delete(icount);
  }

  /** The newest first: whenever this ends, each one left has the one it adds to. */
  async forgetChain(icounts: readonly bigint[]): Promise<void> {
    for (const icount of [...icounts].reverse()) await this.forget(icount);
  }

  /** Null: it is damaged, and goes with the others of its chain. */
  #manifestOf(icount: bigint): CheckpointManifest | null {
    const known = this.#manifests.get(icount);
    if (known !== undefined) return known;
    let manifest: CheckpointManifest | null = null;
    try {
      manifest = readManifest(join(this.dir, String(icount)));
    } catch {
      // a replay from it is told
    }
    this.#manifests.set(icount, manifest);
    return manifest;
  }
}

/** Bytes of its files and folder, in whole blocks. */
function takenBy(manifest: CheckpointManifest | null): number {
  const files = manifest?.files ?? [];
  const round = (bytes: number): number => Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
  return files.reduce((sum, { bytes }) => sum + round(bytes), 2 * BLOCK_BYTES);
}
