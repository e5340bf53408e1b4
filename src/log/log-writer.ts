// SPDX-License-Identifier: Apache-2.0
/** Appends batches to a log (segment.ts), in order, and stops for good at the first failure. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { UnderstudyError, writeError } from '../base/errors.ts';
import { type BatchHeader, LOG_VERSION, readBatchHeader } from './batch.ts';
import { LogReader } from './log-reader.ts';
import {
  expectChain,
  expectSequence,
  expectVm,
  listSegments,
  SEGMENT_BYTES_MAX,
  segmentName,
  type TornTail,
  writeSegmentHeader,
} from './segment.ts';
import { syncDir, writeAll } from './write-all.ts';

/** Of one system call; bounds what a slow disk can hold up in one piece. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
const GROUP_FRAMES_MAX = 256;

export interface LogWriterOptions {
  readonly vmId: Uint8Array;
  readonly term: number;
  readonly qemuBuildId: string;
  readonly agentVersion?: string;
  /** A file is finished before it grows beyond this; default 64 MiB. */
  readonly segmentBytesMax?: number;
}

/** The file being appended to. */
interface OpenSegment {
  readonly handle: FileHandle;
  readonly path: string;
  readonly index: number;
  /** Where the next frame goes. */
  offset: number;
  hasBatch: boolean;
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly sequence: bigint;
  readonly resolve: () => void;
  readonly reject: (error: UnderstudyError) => void;
}

/**
 * Appends batches. After the first failed write nothing more is accepted, whatever
 * becomes of the disk: a log with a hole is no log.
 */
export class LogWriter {
  /** The failure that poisoned this writer: `disk-full` or `log-write`. */
  error: UnderstudyError | null = null;
  /** What `append` found behind the last whole batch and cut off. */
  readonly recovered: TornTail | null;
  /** Written since it was opened, headers included. */
  bytesWritten = 0;
  /** Accepted and not yet written: what a slow disk makes grow. */
  pendingBytes = 0;
  readonly #dir: string;
  readonly #options: LogWriterOptions;
  readonly #bytesMax: number;
  readonly #queue: Waiting[] = [];
  #accepted: BatchHeader | null;
  #file: OpenSegment | null = null;
  /** Settles, never rejects, after the newest `append`. */
  #newest: Promise<void> = Promise.resolve();
  #isPumping = false;
  #closed = false;

  private constructor(dir: string, options: LogWriterOptions, reader: LogReader | null) {
    this.#dir = dir;
    this.#options = options;
    this.#bytesMax = options.segmentBytesMax ?? SEGMENT_BYTES_MAX;
    this.#accepted = reader?.last ?? null;
    this.recovered = reader?.torn ?? null;
  }

  /** A new log, in a folder that is made if it is not there and that has no log yet. */
  static async create(dir: string, options: LogWriterOptions): Promise<LogWriter> {
    await mkdir(dir, { recursive: true });
    if ((await listSegments(dir)).length > 0) {
      throw new UnderstudyError('output-exists', `${dir} has an exit log already`);
    }
    const writer = new LogWriter(dir, options, null);
    await writer.#guard(() => writer.#roll(1, 0n));
    return writer;
  }

  /**
   * Goes on with a log. Reads its last segment to the last whole batch and cuts off
   * what is torn behind it. @throws CorruptLogError, also if it is another VM's
   */
  static async append(dir: string, options: LogWriterOptions): Promise<LogWriter> {
    const index = (await listSegments(dir)).at(-1)?.index ?? 1;
    let reader = await scan(dir, options.vmId, index);
    // A segment without a batch says nothing about the sequence: the one before does.
    if (reader.last === null && index > 1) reader = await scan(dir, options.vmId, index - 1);
    const { end } = reader;
    assert(end !== null, 'a scan that does not throw has opened a segment');
    const writer = new LogWriter(dir, options, reader);
    await writer.#guard(async () => {
      const handle = await open(end.file, 'r+');
      const hasBatch = reader.last !== null;
      writer.#file = { handle, path: end.file, index, offset: end.offset, hasBatch };
      await handle.truncate(end.offset);
      if (end.offset === 0) await writer.#writeHeader(writer.#file, writer.nextSequence);
    });
    return writer;
  }

  /** The sequence that the next batch must have. */
  get nextSequence(): bigint {
    return this.#accepted === null ? 0n : this.#accepted.sequence + 1n;
  }

  /** The `prevChecksum` that the next batch must have. */
  get lastChecksum(): bigint {
    return this.#accepted?.checksum ?? 0n;
  }

  /** The newest batch accepted. */
  get last(): BatchHeader | null {
    return this.#accepted;
  }

  /**
   * Queues a batch frame that `seal` wrote or `checkFrame` accepted. Its bytes must
   * stay as they are until the promise settles, which is when the system has them
   * (not yet the disk: `sync`). Rejects with `error` once the writer is poisoned, and
   * with CorruptLogError, harmlessly, for a batch that does not come next.
   */
  append(frame: Uint8Array): Promise<void> {
    if (this.error !== null) return Promise.reject(this.error);
    assert(!this.#closed, 'the log is open');
    let header: BatchHeader;
    try {
      header = readBatchHeader(frame, 0);
      expectVm(this.#options.vmId, header.vmId);
      expectSequence(this.nextSequence, header.sequence);
      expectChain(this.#accepted, header);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#accepted = header;
    const written = new Promise<void>((resolve, reject) => {
      this.pendingBytes += frame.length;
      this.#queue.push({ frame, sequence: header.sequence, resolve, reject });
    });
    this.#newest = written.catch(() => {});
    if (!this.#isPumping) void this.#pump();
    return written;
  }

  /** Everything appended so far is on the disk when this resolves. */
  async sync(): Promise<void> {
    await this.#newest;
    if (this.error !== null) throw this.error;
    // Files before the current one were synced when they were finished.
    await this.#guard(async () => this.#file?.handle.datasync());
  }

  /** Syncs and closes. Idempotent; closes also a poisoned writer, and then rejects. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.sync();
    } finally {
      await this.#file?.handle.close();
    }
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    // Not before the caller's turn ends: batches of one turn share a system call.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#nextGroup();
      try {
        await this.#guard(() => this.#writeGroup(group));
        for (const { resolve } of group) resolve();
      } catch {
        const error = this.error as UnderstudyError;
        for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(error);
      }
    }
    this.#isPumping = false;
  }

  /** What goes into one system call: at least one batch, and all into one file. */
  #nextGroup(): Waiting[] {
    const from = this.#file;
    let count = 0;
    let bytes = 0;
    for (const { frame } of this.#queue) {
      const room = Math.min(GROUP_BYTES_MAX, this.#bytesMax - (from?.offset ?? 0));
      if (count > 0 && (bytes + frame.length > room || count === GROUP_FRAMES_MAX)) break;
      bytes += frame.length;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    const frames = group.map(({ frame }) => frame);
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    const first = group[0];
    assert(this.#file !== null && first !== undefined, 'there is a file and a batch for it');
    if (this.#file.hasBatch && this.#file.offset + bytes > this.#bytesMax) {
      await this.#roll(this.#file.index + 1, first.sequence);
    }
    const file = this.#file;
    file.offset = await writeAll(file.handle, frames, file.offset);
    file.hasBatch = true;
    this.bytesWritten += bytes;
    this.pendingBytes -= bytes;
  }

  /** Finishes the file, if there is one, and begins the next. */
  async #roll(index: number, firstSequence: bigint): Promise<void> {
    const old = this.#file;
    await old?.handle.datasync();
    const path = join(this.#dir, segmentName(index));
    const handle = await open(path, 'wx');
    // From here on `sync` means the new file; the old one is on the disk.
    const file = { handle, path, index, offset: 0, hasBatch: false };
    this.#file = file;
    await old?.handle.close();
    await this.#writeHeader(file, firstSequence);
    await syncDir(this.#dir);
  }

  async #writeHeader(file: OpenSegment, firstSequence: bigint): Promise<void> {
    const { vmId, term, qemuBuildId, agentVersion = '' } = this.#options;
    const header = writeSegmentHeader({
      vmId,
      logVersion: LOG_VERSION,
      term,
      index: file.index,
      firstSequence,
      createdAtNs: BigInt(Date.now()) * 1_000_000n,
      qemuBuildId,
      agentVersion,
    });
    file.offset = await writeAll(file.handle, [header], 0);
    this.bytesWritten += header.length;
  }

  /** Runs a step that writes. Its failure poisons the writer and becomes `error`. */
  async #guard(step: () => Promise<void>): Promise<void> {
    if (this.error !== null) throw this.error;
    try {
      await step();
    } catch (cause) {
      const file = this.#file;
      this.error ??= writeError(`the exit log ${file?.path ?? this.#dir}`, cause);
      // Half a batch is of no use to anybody, and a reader can do with or without it.
      await file?.handle.truncate(file.offset).catch(() => {});
      throw this.error;
    }
  }
}

async function scan(dir: string, vmId: Uint8Array, fromIndex: number): Promise<LogReader> {
  const reader = new LogReader(dir, { vmId, tail: 'torn', fromIndex });
  for await (const _ of reader);
  return reader;
}
