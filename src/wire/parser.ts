// SPDX-License-Identifier: Apache-2.0
/**
 * Cuts a byte stream into frames. A frame that lies whole in one chunk is handed
 * out in place; only one that spans chunks is copied, once. A length is believed
 * only after its prefix's own checksum, and never above the limit of its type.
 */
import { assert } from '../base/assert.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { UnderstudyError } from '../base/errors.ts';
import { FRAME, frameBytes, PREFIX_BYTES } from '../log/frame.ts';

const NAMES = new Map<number, string>(
  Object.entries(FRAME).map(([name, type]) => [type, name.toLowerCase().replace('_', '-')]),
);

/** "ack", or "type 99" for what this version does not know. */
export function frameName(type: number): string {
  return NAMES.get(type) ?? `type ${type}`;
}

/** For a frame that has no place where it came. @param of "a primary" */
export function unexpected(frame: Frame, of: string): UnderstudyError {
  return new UnderstudyError('peer-protocol', `unexpected ${frameName(frame.type)} of ${of}`);
}

/** A whole frame inside a buffer, prefix included; its body is not verified yet. */
export interface Frame {
  readonly type: number;
  readonly buffer: Buffer;
  readonly offset: number;
  readonly length: number;
}

export class FrameParser {
  readonly #onFrame: (frame: Frame) => void;
  /** The start of a frame: its prefix, or (its length known) the frame. */
  #partial: Buffer | null = null;
  #filled = 0;
  #sized = false;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** An unfinished frame's bytes that are there, and its length (null: not known yet). */
  get unfinished(): { have: number; of: number | null } | null {
    if (this.#partial === null) return null;
    return { have: this.#filled, of: this.#sized ? this.#partial.length : null };
  }

  /** @throws UnderstudyError peer-protocol saying what was found instead of a frame */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#partial !== null) {
        at = this.#complete(chunk, at);
        continue;
      }
      const available = chunk.length - at;
      const length = available < PREFIX_BYTES ? PREFIX_BYTES : lengthOf(chunk, at);
      if (available >= length) {
        this.#onFrame({ type: chunk.readUInt16LE(at + 4), buffer: chunk, offset: at, length });
        at += length;
      } else {
        this.#partial = Buffer.allocUnsafe(length);
        this.#filled = 0;
        this.#sized = available >= PREFIX_BYTES;
      }
    }
  }

  #complete(chunk: Buffer, from: number): number {
    let partial = this.#partial;
    assert(partial !== null, 'a frame is unfinished');
    const take = Math.min(partial.length - this.#filled, chunk.length - from);
    chunk.copy(partial, this.#filled, from, from + take);
    this.#filled += take;
    if (this.#filled < partial.length) return from + take;
    if (!this.#sized) {
      const whole = Buffer.allocUnsafe(lengthOf(partial, 0));
      partial.copy(whole, 0);
      partial = whole;
      this.#partial = whole;
      this.#sized = true;
    }
    if (this.#filled === partial.length) {
      this.#partial = null;
      this.#onFrame({
        type: partial.readUInt16LE(4),
        buffer: partial,
        offset: 0,
        length: partial.length,
      });
    }
    return from + take;
  }
}

function lengthOf(buffer: Buffer, offset: number): number {
  let length: number | null;
  try {
    length = frameBytes(buffer, offset, PREFIX_BYTES);
  } catch (cause) {
    if (!(cause instanceof CorruptLogError)) throw cause;
    const found = buffer.subarray(offset, offset + PREFIX_BYTES);
    const text = found.toString('latin1').replace(/[^\x20-\x7e]/g, '.');
    throw new UnderstudyError(
      'peer-protocol',
      `the peer sent no frame of ours: ${cause.reason}; its bytes: ${found.toString('hex')} "${text}"`,
      { cause },
    );
  }
  assert(length !== null, 'a whole prefix is there');
  return length;
}

/** What reading a control frame threw, as the peer's error where it is the peer's. */
export function damaged(frame: Frame, cause: unknown): unknown {
  if (!(cause instanceof CorruptLogError)) return cause;
  return new UnderstudyError(
    'peer-protocol',
    `the peer sent a damaged ${frameName(frame.type)}: ${cause.reason}`,
    { cause },
  );
}
