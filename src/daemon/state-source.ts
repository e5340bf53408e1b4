// SPDX-License-Identifier: Apache-2.0
/**
 * What a new backup is given of a VM that runs: its disks where they differ, copied
 * while the guest writes to them, then a checkpoint that has every cluster written
 * meanwhile. The guest stands still for the checkpoint's cut only.
 *
 * Why that is exact: QEMU notes all writes from a mark on, those in flight at the mark
 * included (qemu/exitlog/cut/checkpoint-disk.c). The images are read after the mark,
 * through the same page cache that QEMU writes to, so what the copy has wrong of a
 * cluster, or half, is a cluster that the checkpoint has.
 */
import { readFileSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type ExitRing, hashBlocks, xxh64 } from '../../native/kvm-exit-log/index.ts';
import { type Clock, sleep } from '../base/clock.ts';
import { UnderstudyError } from '../base/errors.ts';
import { keyOf, type Point } from '../base/position.ts';
import { listCheckpoints, MANIFEST, readManifest } from '../checkpoint/manifest.ts';
import { findEntrance } from '../checkpoint/start.ts';
import type { GivenState, StateSource } from '../replica/ports.ts';
import { BLOCK_BYTES, type Piece } from '../wire/joining.ts';

export interface StateSourceOptions {
  readonly clock: Clock;
  readonly ring: ExitRing;
  /** False: QEMU is gone. */
  readonly alive: () => boolean;
  readonly images: readonly string[];
  /** Where QEMU puts checkpoints (-exitlog checkpoints=). */
  readonly checkpoints: string;
  /** The log that is shipped; known once it is. */
  readonly log: () => { readonly dir: string; readonly vmId: Buffer } | null;
  /** Everything that is in the ring is in the log then. */
  readonly flush: () => Promise<void>;
  readonly refusal: string | null;
}

const POLL_MS = 2;
/** A checkpoint waits for a position with nothing in flight: QEMU gives up sooner. */
const CHECKPOINT_MS_MAX = 120_000;
const ZEROS = new Uint8Array(BLOCK_BYTES);

type Progress = (percent: number, doing: string) => void;

export class VmStateSource implements StateSource {
  readonly #o: StateSourceOptions;

  constructor(options: StateSourceOptions) {
    this.#o = options;
  }

  get refusal(): string | null {
    return this.#o.refusal;
  }

  async *pieces(
    have: readonly BigUint64Array[],
    progress: Progress,
  ): AsyncGenerator<Piece, GivenState, undefined> {
    const { ring } = this.#o;
    const mark = ring.requestDiskMark();
    await this.#until('a disk mark', () => ring.status().diskMarksDone >= mark);
    yield* this.#disks(have, (percent) => progress(percent / 2, 'copying disks'));
    progress(50, 'taking a checkpoint');
    const dir = join(this.#o.checkpoints, keyOf(await this.#checkpoint()));
    try {
      yield* files(dir, (percent) => progress(50 + percent / 2, 'copying memory'));
      return await this.#place(dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  async *#disks(
    have: readonly BigUint64Array[],
    progress: (percent: number) => void,
  ): AsyncGenerator<Piece, void, undefined> {
    const differing: number[][] = [];
    const hashes: BigUint64Array[] = [];
    const zero = xxh64(ZEROS);
    for (const [index, image] of this.#o.images.entries()) {
      const here = await hashBlocks(image, BLOCK_BYTES);
      const there = have[index] ?? new BigUint64Array(0);
      const blocks: number[] = [];
      here.forEach((hash, block) => {
        if (hash !== there[block]) blocks.push(block);
      });
      differing.push(blocks);
      hashes.push(here);
    }
    const total = differing.reduce((sum, blocks) => sum + blocks.length, 0);
    let done = 0;
    for (const [index, blocks] of differing.entries()) {
      const file = await open(this.#o.images[index] ?? '', 'r');
      try {
        for (const block of blocks) {
          const offset = block * BLOCK_BYTES;
          const isHole = hashes[index]?.[block] === zero;
          const data = isHole ? ZEROS : await readAt(file, offset, BLOCK_BYTES);
          done += 1;
          progress((100 * done) / total);
          yield { file: `image/${index}`, offset: BigInt(offset), data };
        }
      } finally {
        await file.close();
      }
    }
  }

  async #checkpoint(): Promise<Point> {
    const { ring, checkpoints } = this.#o;
    // One that came too late for its join fits no other. (Those that recur go elsewhere.)
    for (const point of listCheckpoints(checkpoints)) {
      rmSync(join(checkpoints, keyOf(point)), { recursive: true });
    }
    const wanted = ring.requestCheckpoint();
    await this.#until('a checkpoint', () => ring.status().checkpointsAnswered >= wanted);
    const made = listCheckpoints(checkpoints).at(-1);
    if (made !== undefined) return made;
    throw new UnderstudyError(
      'checkpoint-failed',
      `no checkpoint could be made in ${checkpoints}: its disk may be full (daemon.log has ` +
        "QEMU's reason)",
    );
  }

  /** Where the log goes on from the checkpoint. */
  async #place(dir: string): Promise<GivenState> {
    await this.#o.flush();
    const manifest = readManifest(dir);
    const log = this.#o.log();
    const entrance = log === null ? null : await findEntrance(log.dir, log.vmId, manifest);
    if (entrance === null) {
      throw new UnderstudyError('checkpoint-failed', 'the log does not have the checkpoint');
    }
    return { start: { entrance, point: manifest.point }, pauseMs: manifest.pause_ns / 1e6 };
  }

  async #until(what: string, done: () => boolean): Promise<void> {
    const { clock, alive } = this.#o;
    const deadlineMs = clock.nowMs() + CHECKPOINT_MS_MAX;
    while (!done()) {
      if (!alive()) throw new UnderstudyError('checkpoint-failed', `the VM ended before ${what}`);
      if (clock.nowMs() > deadlineMs) {
        throw new UnderstudyError('checkpoint-failed', `QEMU did not make ${what} in time`);
      }
      await sleep(clock, POLL_MS);
    }
  }
}

/** A checkpoint's files, the manifest last: what is whole has one. */
async function* files(
  dir: string,
  progress: (percent: number) => void,
): AsyncGenerator<Piece, void, undefined> {
  const manifest = readManifest(dir);
  const total = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const { name, bytes } of manifest.files) {
    const file = await open(join(dir, name), 'r');
    try {
      for (let offset = 0; offset < bytes; offset += BLOCK_BYTES) {
        const data = await readAt(file, offset, Math.min(BLOCK_BYTES, bytes - offset));
        done += data.length;
        progress((100 * done) / total);
        yield { file: `checkpoint/${name}`, offset: BigInt(offset), data };
      }
    } finally {
      await file.close();
    }
  }
  yield { file: `checkpoint/${MANIFEST}`, offset: 0n, data: readFileSync(join(dir, MANIFEST)) };
}

/** Fewer bytes only at the end of the file. */
async function readAt(file: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  let got = 0;
  while (got < bytes) {
    const { bytesRead } = await file.read(buffer, got, bytes - got, offset + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return buffer.subarray(0, got);
}
