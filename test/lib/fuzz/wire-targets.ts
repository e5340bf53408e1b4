// SPDX-License-Identifier: Apache-2.0
/** What comes over the link, and what lies in a log. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '#scripts/paths.mjs';
import { atIcount } from '../../../src/base/position.ts';
import { Batch } from '../../../src/log/batch.ts';
import { describeRecord } from '../../../src/log/describe.ts';
import { readSegmentHeader, tornReason, writeSegmentHeader } from '../../../src/log/segment.ts';
import { helloOf, welcomeOf } from '../../../src/wire/hello.ts';
import * as joining from '../../../src/wire/joining.ts';
import * as messages from '../../../src/wire/messages.ts';
import { type Frame, FrameParser } from '../../../src/wire/parser.ts';
import { ack } from '../an-ack.ts';
import { beat, facts, terms } from '../some-messages.ts';
import { mutateBytes, mutateFrame } from './mutate.ts';
import { must, type Target } from './target.ts';

const heartbeat = messages.encodeHeartbeat(beat);
const start = joining.encodeStart({
  start: {
    point: atIcount(5n),
    entrance: { sequence: 3n, recordBase: 4n, dataBase: 8n, prevChecksum: 9n },
  },
  pieces: 7n,
});

/** Bytes of all that was decoded: a message says no more than it has. */
function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.entries(value).reduce((sum, [key, item]) => sum + key.length + sizeOf(item), 0);
}

function decoding(name: string, decode: (frame: Frame) => unknown, ...seeds: Buffer[]): Target {
  return {
    name,
    seeds: () => seeds,
    mutate: mutateFrame,
    run: (input) => {
      const read: unknown[] = [];
      new FrameParser((frame) => read.push(decode(frame))).push(input);
      // Names of fields are ours, each at most once in a list's element of a word or more.
      must(sizeOf(read) <= 64 * input.length + 4096, 'more was decoded than was there');
      return read;
    },
  };
}

const parser: Target = {
  name: 'stream',
  seeds: () => [Buffer.concat([heartbeat, start, messages.encodeAck(ack)])],
  mutate: mutateBytes,
  run: (input) => {
    const cut = 1 + (input.length % 97);
    let bytes = 0;
    const frames = new FrameParser(({ buffer, offset, length }) => {
      must(offset + length <= buffer.length, 'a frame is where it is said to be');
      bytes += length;
    });
    for (let at = 0; at < input.length; at += cut) frames.push(input.subarray(at, at + cut));
    must(bytes + (frames.unfinished?.have ?? 0) === input.length, 'no byte is lost');
    return bytes;
  },
};

const segmentHeader = writeSegmentHeader({
  vmId: Buffer.alloc(16, 1),
  logVersion: 1,
  term: 1,
  index: 1,
  firstSequence: 0n,
  createdAtNs: 5n,
  qemuBuildId: 'aaaa',
  agentVersion: '0.1.0',
});

/** A segment: its header, then batches as long as there are. */
const segment: Target = {
  name: 'segment',
  seeds: () => {
    const golden = readFileSync(join(projectRoot, 'test/golden/log-v1/000001.udl'));
    return [segmentHeader, golden.subarray(0, 8192)];
  },
  mutate: (seed, other, random) =>
    random.chance(0.5) ? mutateBytes(seed, other, random) : mutateFrame(seed, other, random),
  run: (input) => {
    if (tornReason(input, 0) !== null) return 'torn';
    readSegmentHeader(input);
    let lines = 0;
    for (let at = 16 + input.readUInt32LE(8); tornReason(input, at) === null; ) {
      const batch = Batch.open(input, at, input.length - at);
      for (const record of batch.records()) lines += describeRecord(record).length;
      at += batch.bytes;
    }
    return lines;
  },
};

export const WIRE_TARGETS: readonly Target[] = [
  decoding('hello', messages.decodeHello, messages.encodeHello(helloOf(facts))),
  decoding('welcome', messages.decodeWelcome, messages.encodeWelcome(welcomeOf(facts, terms))),
  decoding(
    'refuse',
    messages.decodeRefuse,
    messages.encodeRefuse({ code: 'name-differs', message: 'no', expected: 'a', actual: 'b' }),
  ),
  decoding(
    'goodbye',
    messages.decodeGoodbye,
    messages.encodeGoodbye({ reason: 'stop', message: 'why not', lastSequence: 3n, term: 1 }),
  ),
  decoding('heartbeat-js', messages.decodeHeartbeat, heartbeat),
  decoding('ack-js', messages.decodeAck, messages.encodeAck(ack)),
  decoding('blocks', joining.decodeBlocks, ...joining.encodeBlocks(1, new BigUint64Array(9))),
  decoding('checkpoint', joining.decodeCheckpoint, joining.encodeCheckpoint('{"format":3}')),
  decoding('start', joining.decodeStart, start),
  decoding(
    'protected',
    joining.decodeProtected,
    joining.encodeProtected({ sequence: 1n, term: 2 }),
  ),
  parser,
  segment,
];
