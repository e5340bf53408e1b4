// SPDX-License-Identifier: Apache-2.0
/** Reads a log (segment.ts) in order and verifies all of it on the way. */
import { readFile } from 'node:fs/promises';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { errorCodeOf, UnderstudyError } from '../base/errors.ts';
import { Batch, type BatchHeader, vmIdText } from './batch.ts';
import { PREFIX_BYTES } from './frame.ts';
import {
  expectChain,
  expectSequence,
  expectVm,
  listSegments,
  readSegmentHeader,
  type SegmentInfo,
  segmentName,
  type TornTail,
  tornReason,
} from './segment.ts';

/** One verified batch and where it is. */
export interface LogEntry {
  readonly batch: Batch;
  readonly file: string;
  readonly offset: number;
}

export interface LogReaderOptions {
  /** Refuse the log of any other VM (16 bytes). */
  readonly vmId?: Uint8Array;
  /**
   * `whole` (default): anything but whole batches to the end is an error. `torn`: end
   * at the last whole batch and say so in `torn`; only for an incomplete end of the
   * last segment, never for a batch that is there and wrong.
   */
  readonly tail?: 'whole' | 'torn';
  /**
   * First segment to read, or the oldest one there is (a daemon's log: retention.ts);
   * the chain into its first batch is then not checked. Default: 1, power-on.
   */
  readonly fromIndex?: number | 'oldest';
}

/**
 * Reads a log in order and verifies everything: frames, identity, sequence, chain.
 * Throws CorruptLogError with file, offset and reason. Iterate once.
 */
export class LogReader implements AsyncIterable<LogEntry> {
  /** Header of the newest segment opened. */
  segment: SegmentInfo | null = null;
  /** Set when iteration has ended, in mode `torn`. */
  torn: TornTail | null = null;
  /** Newest batch read. */
  last: BatchHeader | null = null;
  /** Where whole frames end in the newest segment opened. */
  end: { readonly file: string; readonly offset: number } | null = null;
  readonly #dir: string;
  readonly #options: LogReaderOptions;

  constructor(dir: string, options: LogReaderOptions = {}) {
    this.#dir = dir;
    this.#options = options;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LogEntry, void, undefined> {
    const { fromIndex = 1 } = this.#options;
    const all = await listSegments(this.#dir);
    const first = fromIndex === 'oldest' ? (all[0]?.index ?? 1) : fromIndex;
    const segments = all.filter(({ index }) => index >= first);
    if (segments.length === 0) {
      throw new UnderstudyError('not-a-recording', `${this.#dir} has no exit log`);
    }
    let expected = first;
    for (const { file, index } of segments) {
      if (index !== expected) {
        const reason = `segment ${segmentName(expected)} is missing`;
        throw new CorruptLogError(reason, 'log-truncated', { file, offset: 0 });
      }
      expected++;
      const buf = await readFile(file).catch((error: unknown) => {
        if (errorCodeOf(error) !== 'ENOENT') throw error;
        const reason = 'the segment was deleted while the log was read';
        throw new CorruptLogError(reason, 'log-truncated', { file, offset: 0 });
      });
      yield* this.#readSegment(file, buf, index, index === segments.at(-1)?.index);
    }
  }

  *#readSegment(file: string, buf: Buffer, index: number, isLast: boolean): Generator<LogEntry> {
    let offset = 0;
    this.end = { file, offset };
    try {
      if (this.#endsAt(file, buf, 0, isLast)) return;
      offset = this.#openSegment(buf, index);
      this.end = { file, offset };
      while (!this.#endsAt(file, buf, offset, isLast)) {
        const batch = Batch.open(buf, offset, buf.length - offset);
        this.#checkOrder(batch.header);
        this.last = batch.header;
        this.end = { file, offset: offset + batch.bytes };
        yield { batch, file, offset };
        offset += batch.bytes;
      }
    } catch (error) {
      if (!(error instanceof CorruptLogError) || error.place !== null) throw error;
      throw error.at(file, offset);
    }
  }

  /** Whether no whole frame can be at `offset`; throws if there should be one. */
  #endsAt(file: string, buf: Buffer, offset: number, isLast: boolean): boolean {
    const bytes = buf.length - offset;
    if (bytes === 0 && offset > 0) return true;
    const reason = tornReason(buf, offset);
    if (reason === null) return false;
    if (!isLast || this.#options.tail !== 'torn')
      throw new CorruptLogError(reason, 'log-truncated');
    this.torn = { file, offset, bytes, reason };
    return true;
  }

  /** @returns where the first batch begins */
  #openSegment(buf: Buffer, index: number): number {
    const segment = readSegmentHeader(buf);
    const wanted = this.#options.vmId ?? this.segment?.vmId;
    if (wanted !== undefined) expectVm(wanted, vmIdText(segment.vmId));
    if (segment.index !== index) {
      throw new CorruptLogError(
        `segment header: expected number ${index}, as the file is named, found ${segment.index}`,
      );
    }
    if (this.last !== null) expectSequence(this.last.sequence + 1n, segment.firstSequence);
    this.segment = segment;
    return PREFIX_BYTES + buf.readUInt32LE(8);
  }

  #checkOrder(header: BatchHeader): void {
    const { segment, last } = this;
    if (segment !== null) expectVm(segment.vmId, header.vmId);
    expectSequence(
      last === null ? (segment?.firstSequence ?? 0n) : last.sequence + 1n,
      header.sequence,
    );
    // Without the batch before there is nothing to compare with.
    if (last === null && header.sequence !== 0n) return;
    expectChain(last, header);
  }
}
