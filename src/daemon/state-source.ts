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
 *
 * The addon reads and sends (native/kvm-exit-log/state.ts); here is what, and in which order.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { StateSender } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError } from '../base/errors.ts';
import { keyOf, type Point } from '../base/position.ts';
import { listCheckpoints, MANIFEST, readManifest } from '../checkpoint/manifest.ts';
import { findEntrance } from '../checkpoint/start.ts';
import type { Start } from '../log/entrance.ts';
import type { GivenState, StateSource } from '../replica/ports.ts';
import { BLOCK_BYTES, encodeCheckpoint } from '../wire/joining.ts';
import type { PeerSession } from '../wire/session.ts';
import { progressOf, sendDisks, sent } from './send-state.ts';
import { type SourceOptions, sending, untilDone } from './source.ts';

export interface StateSourceOptions extends SourceOptions {
  /** Where QEMU puts checkpoints (-exitlog checkpoints=). */
  readonly checkpoints: string;
  /** The log that is shipped; known once it is. */
  readonly log: () => { readonly dir: string; readonly vmId: Buffer } | null;
  /** Everything that is in the ring is in the log then. */
  readonly flush: () => Promise<void>;
}

/** A checkpoint waits for a position with nothing in flight: QEMU gives up sooner. */
const CHECKPOINT_MS_MAX = 120_000;

type Progress = (percent: number, doing: string) => void;

export class VmStateSource implements StateSource {
  readonly #o: StateSourceOptions;

  constructor(options: StateSourceOptions) {
    this.#o = options;
  }

  get refusal(): string | null {
    return this.#o.refusal;
  }

  async give(
    to: PeerSession,
    have: readonly BigUint64Array[],
    progress: Progress,
    signal: AbortSignal,
  ): Promise<GivenState | null> {
    const { ring } = this.#o;
    const mark = ring.requestDiskMark();
    await this.#until('a disk mark', () => ring.status().diskMarksDone >= mark);
    if (signal.aborted) return null;
    return sending(to, signal, (sender) => this.#send(to, sender, have, progress));
  }

  async #send(
    to: PeerSession,
    sender: StateSender,
    have: readonly BigUint64Array[],
    progress: Progress,
  ): Promise<GivenState | null> {
    const copying = (percent: number): void => progress(percent / 2, 'copying disks');
    if (!(await sendDisks(sender, this.#o.images, have, copying))) return null;
    progress(50, 'taking a checkpoint');
    const dir = join(this.#o.checkpoints, keyOf(await this.#checkpoint()));
    try {
      to.send(encodeCheckpoint(readFileSync(join(dir, MANIFEST), 'utf8')));
      const copied = (percent: number): void => progress(50 + percent / 2, 'copying memory');
      if (!(await this.#sendFiles(sender, dir, copied))) return null;
      return await this.#given(dir, sender.pieces);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  async #sendFiles(
    sender: StateSender,
    dir: string,
    progress: (percent: number) => void,
  ): Promise<boolean> {
    const { files } = readManifest(dir);
    const done = progressOf(
      files.map(({ bytes }) => bytes),
      progress,
    );
    const how = { blockBytes: BLOCK_BYTES, have: null };
    for (const [index, { name }] of files.entries()) {
      const part = this.#o.images.length + index;
      if (!(await sent(sender, part, join(dir, name), how, done(index)))) return false;
    }
    return true;
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

  async #given(dir: string, pieces: bigint): Promise<GivenState> {
    const manifest = readManifest(dir);
    const start = await this.#place(manifest);
    return { start, pieces, pauseMs: manifest.pause_ns / 1e6 };
  }

  /** Where the log goes on from the checkpoint. */
  async #place(manifest: ReturnType<typeof readManifest>): Promise<Start> {
    await this.#o.flush();
    const log = this.#o.log();
    const entrance = log === null ? null : await findEntrance(log.dir, log.vmId, manifest);
    if (entrance === null) {
      throw new UnderstudyError('checkpoint-failed', 'the log does not have the checkpoint');
    }
    return { entrance, point: manifest.point };
  }

  #until(what: string, done: () => boolean): Promise<void> {
    return untilDone(this.#o, done, CHECKPOINT_MS_MAX, `QEMU did not make ${what}`);
  }
}
