// SPDX-License-Identifier: Apache-2.0
/**
 * Where a backup that joins a running VM puts what it gets: blocks into its images,
 * the checkpoint into a folder of its own. An image that is half of one moment and half
 * of another is marked as such (vm/disk.ts) until it is whole again.
 */
import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { hashBlocks, zeroRange } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError, writeError } from '../base/errors.ts';
import { keyOf } from '../base/position.ts';
import { isZero } from '../base/sparse.ts';
import { CheckpointFinder } from '../checkpoint/manifest.ts';
import { applyDisks, originOf } from '../checkpoint/start.ts';
import type { FirstBatch, Origin, Start } from '../log/entrance.ts';
import type { StateSink } from '../replica/ports.ts';
import { markIncomplete, markWhole } from '../vm/disk.ts';
import { BLOCK_BYTES, type Piece } from '../wire/joining.ts';

const CHECKPOINT_FILE = /^[a-z0-9]+(\.json)?$/;

export class FileStateSink implements StateSink {
  readonly #dir: string;
  readonly #incoming: string;
  readonly #images: readonly string[];
  /** Open files, by the name in a piece. */
  readonly #open = new Map<string, { readonly fd: number; readonly path: string }>();

  /** @param dir emptied first */
  constructor(dir: string, images: readonly string[]) {
    this.#dir = dir;
    this.#incoming = join(dir, 'incoming');
    this.#images = images;
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(this.#incoming, { recursive: true });
  }

  async blocks(): Promise<readonly BigUint64Array[]> {
    const disks: BigUint64Array[] = [];
    for (const image of this.#images) disks.push(await hashBlocks(image, BLOCK_BYTES));
    return disks;
  }

  put({ file, offset, data }: Piece): void {
    const { fd, path } = this.#open.get(file) ?? this.#begin(file);
    try {
      // What a guest has discarded is free on this side as well.
      if (
        file.startsWith('image/') &&
        isZero(Buffer.from(data.buffer, data.byteOffset, data.length))
      ) {
        zeroRange(fd, Number(offset), data.length);
        return;
      }
      for (let at = 0; at < data.length; ) {
        at += writeSync(fd, data, at, data.length - at, Number(offset) + at);
      }
    } catch (cause) {
      throw writeError(path, cause);
    }
  }

  #begin(file: string) {
    const [kind = '', name = ''] = file.split('/');
    const image = kind === 'image' ? this.#images[Number(name)] : undefined;
    const isPart = kind === 'checkpoint' && CHECKPOINT_FILE.test(name);
    const path = image ?? (isPart ? join(this.#incoming, name) : null);
    if (path === null) {
      throw new UnderstudyError('peer-protocol', `it sent "${file}", which this VM does not have`);
    }
    if (image !== undefined) markIncomplete(image);
    let fd: number;
    try {
      fd = openSync(path, image === undefined ? 'wx' : 'r+');
    } catch (cause) {
      throw writeError(path, cause);
    }
    const opened = { fd, path };
    this.#open.set(file, opened);
    return opened;
  }

  async finish({ entrance, point }: Start<FirstBatch>): Promise<Origin> {
    this.close();
    renameSync(this.#incoming, join(this.#dir, keyOf(point)));
    const finder = new CheckpointFinder(this.#dir);
    const chain = await finder.chainBefore(point);
    if (chain.length === 0) {
      const why = finder.rejected.map(({ reason }) => reason).join('; ');
      throw new UnderstudyError('log-corrupt', `the checkpoint that came is damaged: ${why}`);
    }
    for (const image of this.#images) markIncomplete(image);
    await applyDisks(chain, this.#images);
    for (const image of this.#images) {
      await syncFile(image);
      markWhole(image);
    }
    return originOf({ chain, entrance }, this.#dir);
  }

  /** Idempotent. */
  close(): void {
    for (const { fd } of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } catch (cause) {
    throw writeError(path, cause);
  } finally {
    await file.close();
  }
}
