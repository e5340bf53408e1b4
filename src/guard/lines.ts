// SPDX-License-Identifier: Apache-2.0
/**
 * What the guard in the guest says (native/us-guard/), read as a stranger's: the guest may have
 * been taken over. A line is one JSON object of known keys, short; so much a second is looked at.
 */
import { z } from 'zod';

/** us-guard.h: LINE_BYTES. */
const LINE_BYTES_MAX = 400;
/** Sixteen services, told twice a second, are half of it. */
const BYTES_PER_S = 16 * 1024;
const BURST_BYTES = 64 * 1024;
/** What a line costs besides: a serial port is slow, and short lines are many. */
const LINE_COSTS = 100;
export const SERVICES_MAX = 16;

const name = z.string().regex(/^[A-Za-z0-9_.-]{1,32}$/);
const count = (most: number) => z.int().min(0).max(most);
const common = { guard: z.literal(1), seq: count(Number.MAX_SAFE_INTEGER) };

export const SERVICE_STATES = ['starting', 'up', 'failing', 'failed', 'restarting'] as const;
export type ServiceState = (typeof SERVICE_STATES)[number];

const service = z.strictObject({
  ...common,
  service: name,
  state: z.enum(SERVICE_STATES),
  /** Checks in a row that failed. */
  failures: count(1_000_000),
  /** In the last `within` seconds, and how many there may be. */
  restarts: count(100),
  max: count(100),
  within: z.int().min(1).max(86_400),
  /** Whether the guest is to be reset when there have been so many. */
  reset: z.boolean(),
  /** It is shown on terminals. */
  why: z.string().regex(/^[ -~]{0,96}$/),
});
const start = z.strictObject({
  ...common,
  start: z.string().regex(/^[ -~]{1,32}$/),
  services: count(SERVICES_MAX),
});
const done = z.strictObject({
  ...common,
  done: name,
  id: count(Number.MAX_SAFE_INTEGER),
  status: count(255),
  ms: count(Number.MAX_SAFE_INTEGER),
});
const line = z.union([service, start, done]);

export type ServiceLine = z.output<typeof service>;
export type Line = z.output<typeof line>;

/** Null for what is none. */
export function parseLine(text: string): Line | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const result = line.safeParse(value);
  return result.success ? result.data : null;
}

/** A stream of bytes, cut into lines; what is too much or too long is dropped, and counted. */
export class Lines {
  #line = '';
  /** The rest of the line that comes is dropped. */
  #skips = false;
  /** A side that joined a running VM hears the rest of a line first. */
  #isFirst = true;
  #budget = BURST_BYTES;
  #atMs: number;
  malformed = 0;
  good = 0;
  droppedBytes = 0;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  *feed(bytes: Uint8Array, nowMs: number): Generator<Line> {
    this.#budget += ((nowMs - this.#atMs) / 1000) * BYTES_PER_S;
    this.#budget = Math.min(this.#budget, BURST_BYTES);
    this.#atMs = nowMs;
    const taken = Math.min(bytes.length, Math.max(0, Math.floor(this.#budget)));
    this.#budget -= taken;
    yield* this.#take(Buffer.from(bytes.buffer, bytes.byteOffset, taken).toString('latin1'));
    if (taken === bytes.length) return;
    this.droppedBytes += bytes.length - taken;
    this.#skip();
  }

  *#take(text: string): Generator<Line> {
    let at = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
      this.#add(text.slice(at, end));
      at = end + 1;
      yield* this.#end();
    }
    this.#add(text.slice(at));
  }

  #add(text: string): void {
    if (this.#skips) return;
    this.#line += text;
    if (this.#line.length <= LINE_BYTES_MAX) return;
    this.malformed += 1;
    this.#skip();
  }

  *#end(): Generator<Line> {
    this.#budget = Math.max(this.#budget - LINE_COSTS, -BYTES_PER_S);
    const said = this.#line;
    const isWhole = !this.#skips;
    const mayBeRest = this.#isFirst;
    this.#line = '';
    this.#skips = false;
    this.#isFirst = false;
    if (!isWhole || said === '') return;
    const parsed = parseLine(said);
    if (parsed !== null) {
      this.good += 1;
      yield parsed;
    } else if (!mayBeRest) {
      this.malformed += 1;
    }
  }

  #skip(): void {
    this.#line = '';
    this.#skips = true;
  }
}
