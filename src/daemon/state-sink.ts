// SPDX-License-Identifier: Apache-2.0
/**
 * Where a backup that joins a running VM puts what it gets: blocks into its images,
 * the checkpoint into a folder of its own. An image that is half of one moment and half
 * of another is marked as such (vm/disk.ts) until it is whole again.
 *
 * The addon verifies and writes (native/kvm-exit-log/state.ts); here is where to.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  hashBlocks,
  type StateFailure,
  type StateReceiver,
} from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { keyOf, type Point } from '../base/position.ts';
import { CheckpointFinder, MANIFEST, parseManifest } from '../checkpoint/manifest.ts';
import { applyDisks, originOf } from '../checkpoint/start.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Origin } from '../log/entrance.ts';
import type { StateSink, StateSinkEvents } from '../replica/ports.ts';
import { markIncomplete, markWhole } from '../vm/disk.ts';
import { Connection } from '../wire/connection.ts';
import { BLOCK_BYTES, type Sent } from '../wire/joining.ts';
import type { PeerSession } from '../wire/session.ts';

/** What a STATE frame's number of a part stands for. */
interface Part {
  readonly path: string;
  readonly isImage: boolean;
}

export class FileStateSink implements StateSink {
  readonly #dir: string;
  readonly #follows: Protocol['follower'];
  readonly #incoming: string;
  readonly #images: readonly string[];
  readonly #parts: Part[] = [];
  #receiver: StateReceiver | null = null;
  /** The checkpoint's, once its files are on their way. */
  #manifest: string | null = null;

  /**
   * @param dir emptied first
   * @param follows what the protocol says of its followers
   */
  constructor(dir: string, images: readonly string[], follows: Protocol['follower']) {
    this.#dir = dir;
    this.#follows = follows;
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

  open({ link }: PeerSession, events: StateSinkEvents): void {
    assert(link instanceof Connection && this.#receiver === null, 'a real peer, and one');
    let isFirst = true;
    const receiver = link.receiveState({
      begins: (part) => {
        if (isFirst) events.receiving();
        isFirst = false;
        try {
          this.#begins(part);
        } catch (error) {
          events.failed(error as UnderstudyError);
          void receiver.close();
        }
      },
      failed: (failure, part) => events.failed(this.#errorOf(failure, part)),
    });
    this.#receiver = receiver;
    for (const image of this.#images) this.#add(image, null);
  }

  get pressed(): boolean {
    return this.#receiver?.pressed ?? false;
  }

  checkpoint(text: string): void {
    if (this.#manifest !== null) {
      throw new UnderstudyError('peer-protocol', 'it sent a second checkpoint');
    }
    for (const { name, bytes } of this.#filesOf(text)) this.#add(join(this.#incoming, name), bytes);
    this.#manifest = text;
  }

  /** Those that a checkpoint of this VM may have. */
  #filesOf(text: string) {
    let files: ReturnType<typeof parseManifest>['files'];
    try {
      files = parseManifest(text).files;
    } catch (cause) {
      throw damaged(messageOf(cause));
    }
    const left = new Set(['state', 'ram', ...this.#images.map((_, disk) => `disk${disk}`)]);
    for (const { name } of files) {
      // Also one that is there twice.
      if (!left.delete(name)) throw damaged(`it has "${name}", which this VM's do not have`);
    }
    return files;
  }

  /** @param bytes of a file that does not exist yet; null: an image, which has its length */
  #add(path: string, bytes: number | null): void {
    const isImage = bytes === null;
    const receiver = this.#receiver;
    assert(receiver !== null, 'it is open');
    try {
      const fd = openSync(path, isImage ? 'r+' : 'wx');
      try {
        // Zeros at its end do not come.
        if (!isImage) ftruncateSync(fd, bytes);
        receiver.add(fd, bytes ?? fstatSync(fd).size, isImage ? 'some' : 'whole');
      } finally {
        closeSync(fd);
      }
    } catch (cause) {
      throw writeError(path, cause);
    }
    this.#parts.push({ path, isImage });
  }

  /** @throws UnderstudyError disk-full, log-write */
  #begins(part: number): void {
    const { path, isImage } = this.#partOf(part);
    if (isImage) markIncomplete(path);
  }

  #partOf(part: number): Part {
    const it = this.#parts[part];
    assert(it !== undefined, 'the addon writes to parts that it was given');
    return it;
  }

  #errorOf({ code, message }: StateFailure, part: number): UnderstudyError {
    if (code === 'peer-protocol') return new UnderstudyError(code, message);
    return writeError(this.#partOf(part).path, Object.assign(new Error(message), { code }));
  }

  async finish({ start, pieces }: Sent): Promise<Origin | null> {
    const { entrance, point } = start;
    const receiver = this.#receiver;
    assert(receiver !== null, 'it is open');
    if (!(await receiver.end(pieces))) return null;
    await this.close();
    if (this.#follows === 'image') {
      // They are of no moment before the first epoch is there.
      for (const image of this.#images) markIncomplete(image);
      return { entrance, chain: '' };
    }
    const chain = await this.#chain(point);
    for (const image of this.#images) markIncomplete(image);
    await applyDisks(chain, this.#images);
    for (const image of this.#images) await syncFile(image);
    return originOf({ chain, entrance }, this.#dir);
  }

  /** The checkpoint in its place, verified. */
  async #chain(point: Point) {
    if (this.#manifest === null) {
      throw new UnderstudyError('peer-protocol', 'it sent no checkpoint');
    }
    try {
      // Last: what is whole has one.
      writeFileSync(join(this.#incoming, MANIFEST), this.#manifest);
    } catch (cause) {
      throw writeError(join(this.#incoming, MANIFEST), cause);
    }
    renameSync(this.#incoming, join(this.#dir, keyOf(point)));
    const finder = new CheckpointFinder(this.#dir);
    const chain = await finder.chainBefore(point);
    if (chain.length > 0) return chain;
    throw damaged(finder.rejected.map(({ reason }) => reason).join('; '));
  }

  entitled(): void {
    for (const image of this.#images) markWhole(image);
  }

  close(): Promise<void> {
    return this.#receiver?.close() ?? Promise.resolve();
  }
}

function damaged(why: string): UnderstudyError {
  return new UnderstudyError('log-corrupt', `the checkpoint that came is damaged: ${why}`);
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
