// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's requests: the same bytes on the wire, both ways, and in the guest's
 * request log. guest/us-server.c describes the frame and is its other reader.
 *
 * The payload follows from the seed and the number, so that one who knows the
 * seed can check an answer, or a stored request, without having kept it.
 */

const MAGIC = 0x51525355; // "USRQ"
const HEADER_BYTES = 20;
const PAYLOAD_BYTES_MAX = 4096;
const FNV_BASIS = 2166136261;
const FNV_PRIME = 16777619;

/** Payloads of the demo: 64 … 512 bytes, each request a TCP segment of its own. */
const SMALLEST = 64;
const LARGEST = 512;

/** A small seeded generator (mulberry32): the same numbers on every host. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function requestFrame(seed: number, number: number): Buffer {
  const random = randomFrom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const payloadBytes = SMALLEST + Math.floor(random() * (LARGEST - SMALLEST + 1));
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payloadBytes);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(payloadBytes, 4);
  frame.writeBigUInt64LE(BigInt(number), 8);
  for (let at = HEADER_BYTES; at < frame.length; at += 1) frame[at] = Math.floor(random() * 256);
  frame.writeUInt32LE(checksum(frame), 16);
  return frame;
}

function checksum(frame: Buffer): number {
  const over16 = fnv1a(FNV_BASIS, frame, 0, 16);
  return fnv1a(over16, frame, HEADER_BYTES, frame.length) >>> 0;
}

function fnv1a(hash: number, bytes: Buffer, from: number, to: number): number {
  let value = hash;
  for (let at = from; at < to; at += 1) value = Math.imul(value ^ (bytes[at] ?? 0), FNV_PRIME);
  return value;
}

export interface ReceivedFrame {
  readonly number: number;
  readonly bytes: Buffer;
}

/** Cuts a byte stream into frames. What does not start like a frame is `garbage`. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  #garbage = false;

  /** True once the stream cannot be understood any more. */
  get garbage(): boolean {
    return this.#garbage;
  }

  /** Bytes of a frame that is not whole yet. */
  get pendingBytes(): number {
    return this.#rest.length;
  }

  push(chunk: Buffer): ReceivedFrame[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: ReceivedFrame[] = [];
    let at = 0;
    while (!this.#garbage && bytes.length - at >= HEADER_BYTES) {
      const payloadBytes = bytes.readUInt32LE(at + 4);
      if (bytes.readUInt32LE(at) !== MAGIC || payloadBytes > PAYLOAD_BYTES_MAX) {
        this.#garbage = true;
        break;
      }
      const end = at + HEADER_BYTES + payloadBytes;
      if (end > bytes.length) break;
      const frame = bytes.subarray(at, end);
      frames.push({ number: Number(frame.readBigUInt64LE(8)), bytes: frame });
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
    return frames;
  }
}
