// SPDX-License-Identifier: Apache-2.0
/** Inputs made of other inputs: as bytes, as words, as JSON, as text. */
import { sealControlFrame } from '../../../native/kvm-exit-log/index.ts';
import { FRAME_MAGIC, PREFIX_BYTES } from '../../../src/log/frame.ts';
import type { Random } from '../../simulation/random.ts';

export const INPUT_BYTES_MAX = 96 * 1024;

/** Numbers at which checks go wrong. */
const EDGES = [0, 1, 3, 7, 8, 0x7f, 0xff, 0xffff, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 53]
  .flatMap((n) => [BigInt(n), BigInt(n) + 1n])
  .concat([2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]);

export const pick = <T>(all: readonly T[], random: Random): T =>
  all[random.int(0, all.length - 1)] as T;

type Step = (bytes: Buffer, other: Buffer, random: Random) => Buffer;

const part = (bytes: Buffer, random: Random): [from: number, to: number] => {
  const from = random.int(0, bytes.length);
  return [from, Math.min(bytes.length, from + random.int(0, random.chance(0.2) ? 4096 : 24))];
};

const overwrite = (bytes: Buffer, at: number, width: number, value: bigint): Buffer => {
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(BigInt.asUintN(64, value));
  if (at < bytes.length) word.copy(bytes, at, 0, width);
  return bytes;
};

const STEPS: readonly Step[] = [
  (bytes, _, random) => {
    if (bytes.length === 0) return bytes;
    const at = random.int(0, bytes.length - 1);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
    return bytes;
  },
  (bytes, _, random) => {
    if (bytes.length > 0) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    return bytes;
  },
  (bytes, _, random) =>
    overwrite(bytes, random.int(0, bytes.length), pick([1, 2, 4, 8], random), pick(EDGES, random)),
  (bytes, _, random) => {
    const [from, to] = part(bytes, random);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (bytes, _, random) => {
    const [from, to] = part(bytes, random);
    const again = Array.from({ length: random.int(1, 3) }, () => bytes.subarray(from, to));
    return Buffer.concat([bytes.subarray(0, to), ...again, bytes.subarray(to)]);
  },
  (bytes, other, random) => {
    const [from, to] = part(other, random);
    const at = random.int(0, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), other.subarray(from, to), bytes.subarray(at)]);
  },
];

export function mutateBytes(seed: Buffer, other: Buffer, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(seed);
  for (let steps = random.int(1, 4); steps > 0; steps--) {
    bytes = pick(STEPS, random)(bytes, other, random);
  }
  return bytes.subarray(0, INPUT_BYTES_MAX);
}

/** A pointer of Cap'n Proto: to a struct, a list, far away; near, or anywhere. */
function pointer(random: Random): bigint {
  const offset = random.chance(0.7) ? random.int(-8, 24) : random.int(-(2 ** 29), 2 ** 29 - 1);
  const low = ((offset << 2) | random.int(0, random.chance(0.9) ? 1 : 3)) >>> 0;
  const count = random.chance(0.7) ? random.int(0, 64) : random.int(0, 2 ** 29 - 1);
  const high = ((count << 3) | random.int(0, 7)) >>> 0;
  return (BigInt(high) << 32n) | BigInt(low);
}

/** A frame of Cap'n Proto with other words in it, and the lengths and checksums that fit them. */
export function mutateFrame(seed: Buffer, other: Buffer, random: Random): Buffer {
  if (random.chance(0.1)) return mutateBytes(seed, other, random);
  let frame: Buffer = Buffer.from(seed);
  for (let steps = random.int(1, 4); steps > 0; steps--) {
    if (frame.length < PREFIX_BYTES) frame = Buffer.concat([frame, Buffer.alloc(PREFIX_BYTES)]);
    const words = (frame.length - PREFIX_BYTES) >> 3;
    const at = PREFIX_BYTES + 8 * random.int(0, words);
    const how = random.next();
    if (how < 0.35) overwrite(frame, at, 8, pointer(random));
    else if (how < 0.55) overwrite(frame, at, 8, pick(EDGES, random));
    else if (how < 0.7) frame.copy(frame, at, PREFIX_BYTES + 8 * random.int(0, words));
    else if (how < 0.85) frame = pick(STEPS, random)(frame, other, random);
    else {
      const more = Buffer.alloc(8 * random.int(1, random.chance(0.1) ? 4000 : 40));
      for (let n = 0; n < more.length; n += 8) overwrite(more, n, 8, pointer(random));
      frame = Buffer.concat([frame.subarray(0, at), more, frame.subarray(at)]);
    }
  }
  return sealed(frame.subarray(0, 64 * 1024), seed);
}

function sealed(frame: Buffer, like: Buffer): Buffer {
  const bodyBytes = Math.max(24, (frame.length - PREFIX_BYTES) & ~7);
  const whole = Buffer.alloc(PREFIX_BYTES + bodyBytes);
  frame.copy(whole);
  whole.writeUInt32LE(FRAME_MAGIC, 0);
  if (like.length >= 6) like.copy(whole, 4, 4, 6);
  whole.writeUInt16LE(0, 6);
  whole.writeUInt32LE(bodyBytes, 8);
  whole.writeUInt32LE(0, PREFIX_BYTES);
  whole.writeUInt32LE(bodyBytes / 8 - 1, PREFIX_BYTES + 4);
  try {
    sealControlFrame(whole);
  } catch {
    // Its root is no struct: to be refused for that.
  }
  return whole;
}

const STRINGS = ['', '__proto__', 'x'.repeat(5000), '\u001b]0;x\u0007', '../..', '\ud800', '1e999'];
const NUMBERS = [0, -0, -1, 0.5, 1e308, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2];

function anyJson(random: Random, depth = 0): unknown {
  const kind = random.int(0, depth > 3 ? 3 : 6);
  if (kind === 0) return pick([null, true, false], random);
  if (kind === 1) return pick(NUMBERS, random);
  if (kind < 4) return pick(STRINGS, random);
  const items = Array.from({ length: random.int(0, 3) }, () => anyJson(random, depth + 1));
  if (kind === 4) return items;
  return Object.fromEntries(items.map((item) => [pick(STRINGS, random).slice(0, 20), item]));
}

/** A value with one place of it changed. */
function otherJson(value: unknown, random: Random): unknown {
  const isLeaf = typeof value !== 'object' || value === null;
  if (isLeaf || random.chance(0.15)) {
    if (typeof value === 'string' && random.chance(0.5)) {
      return mutateBytes(Buffer.from(value), Buffer.from('"\\'), random).toString('latin1');
    }
    if (typeof value === 'number' && random.chance(0.5)) return value + pick([1, -1, 0.5], random);
    return anyJson(random);
  }
  if (Array.isArray(value)) {
    const at = random.int(0, value.length);
    const item = at < value.length ? otherJson(value[at], random) : anyJson(random);
    return value.toSpliced(at, random.chance(0.2) ? 2 : 1, item);
  }
  const entries = Object.entries(value);
  const at = random.int(0, entries.length - 1);
  const [key, item] = entries[at] ?? ['', null];
  const how = random.next();
  if (how < 0.1) entries.splice(at, 1);
  else if (how < 0.2) entries.push([pick(STRINGS, random), anyJson(random)]);
  else entries.splice(at, 1, [key, otherJson(item, random)]);
  return Object.fromEntries(entries);
}

export function mutateJson(seed: Buffer, other: Buffer, random: Random): Buffer {
  if (random.chance(0.2)) return mutateBytes(seed, other, random);
  try {
    let value: unknown = JSON.parse(seed.toString('utf8'));
    for (let steps = random.int(1, 3); steps > 0; steps--) value = otherJson(value, random);
    return Buffer.from(JSON.stringify(value)).subarray(0, INPUT_BYTES_MAX);
  } catch {
    return mutateBytes(seed, other, random);
  }
}

/** Text of lines with words: these change places, or become words of `words`. */
export function mutateLines(words: readonly string[]): (...args: Parameters<Step>) => Buffer {
  return (seed, other, random) => {
    if (random.chance(0.2)) return mutateBytes(seed, other, random);
    const lines = seed.toString('utf8').split('\n');
    for (let steps = random.int(1, 4); steps > 0; steps--) {
      const at = random.int(0, lines.length - 1);
      const line = lines[at] ?? '';
      const how = random.next();
      if (how < 0.2) lines.splice(at, 1);
      else if (how < 0.4) lines.splice(random.int(0, lines.length), 0, line);
      else if (how < 0.8) {
        const cut = line.split(/(?<=[ =",[\]])/);
        cut[random.int(0, cut.length - 1)] = pick(words, random);
        lines[at] = cut.join('');
      } else lines.splice(at, 0, pick(words, random));
    }
    return Buffer.from(lines.join('\n')).subarray(0, INPUT_BYTES_MAX);
  };
}
