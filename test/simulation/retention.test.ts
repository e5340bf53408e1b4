// SPDX-License-Identifier: Apache-2.0
/**
 * Days of a recording that keeps 1 GB, on a scaled-down clock: the guest goes from idle
 * to the worst at random, checkpoints fail now and then. At every step what is there is
 * within the limit, and a replay has a place to start. A failure prints its seed;
 * `UNDERSTUDY_SEED=n npx tsx test/simulation/retention.test.ts` (TRACE=1: its end).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Keeper } from '../../src/retain/keeper.ts';
import { chainMaxFor, type RetainLimits } from '../../src/retain/limits.ts';
import { Random } from './random.ts';
import { type Machine, Recorded } from './recorded.ts';

const ONLY = process.env.UNDERSTUDY_SEED;
const SEEDS = Number(process.env.UNDERSTUDY_SEEDS ?? 2);
const HOUR_MS = 3_600_000;
const NONE: RetainLimits = { count: null, ageMs: null, bytes: null };
const DEFAULT: RetainLimits = { ...NONE, ageMs: 24 * HOUR_MS, bytes: 1e9 };
const CHAIN_MAX = 30;
const VM: Machine = {
  memoryBytes: 256 * 2 ** 20,
  diskBytes: 64 * 2 ** 20,
  everyMs: 10_000,
  chainMax: CHAIN_MAX,
  segmentBytes: 16 * 2 ** 20,
  // TCP into the guest, as fast as it takes it; memory and disk as fast as it writes them.
  worst: { logBytes: 500e6, ramBytes: 400e6, diskBytes: 100e6 },
  writeBytes: 40e6,
};
/** What a disk of 150 MB/s has no trouble with. */
const MODERATE: Partial<Machine> = {
  worst: { logBytes: 10e6, ramBytes: 20e6, diskBytes: 5e6 },
  writeBytes: 150e6,
};
const TRACED = 60;

interface Outcome {
  readonly problem: string | null;
  readonly usedMax: number;
  readonly usedMean: number;
  /** Share of the time that the guest stood still. */
  readonly held: number;
  readonly logBytes: number;
}

interface Options {
  readonly limits: RetainLimits;
  readonly hours: number;
  readonly machine?: Partial<Machine>;
  /** Breaks something on purpose. */
  readonly sabotage?: (recorded: Recorded) => void;
  /** Check at every step: why it is wrong, or null. */
  readonly check?: (recorded: Recorded) => string | null;
}

/** Runs until something is wrong, or for so many hours. */
async function keep(seed: number, options: Options): Promise<Outcome> {
  const { limits, hours, machine = {}, sabotage, check } = options;
  const chainMax = chainMaxFor(limits, VM.everyMs, CHAIN_MAX);
  const vm: Machine = { ...VM, ...machine, chainMax };
  const recorded = new Recorded(vm, new Random(seed));
  sabotage?.(recorded);
  let warned: string | null = null;
  const keeper = new Keeper({
    limits,
    space: limits.bytes === null ? null : { ...vm, bytes: limits.bytes },
    kept: recorded,
    vm: recorded,
    onWarning: (text) => {
      if (/nothing is deleted|do not fit/.test(text)) warned = text;
    },
  });
  const trace: string[] = [];
  let problem: string | null = null;
  let usedMax = 0;
  let usedSum = 0;
  let hour = { endMs: HOUR_MS, icount: 0n };
  while (recorded.nowMs < hours * HOUR_MS && problem === null) {
    const stepMs = recorded.isQuiet ? 1000 : 100;
    recorded.advance(stepMs);
    const { usedBytes } = recorded;
    usedMax = Math.max(usedMax, usedBytes);
    usedSum += usedBytes * stepMs;
    problem = warned ?? recorded.broken() ?? check?.(recorded) ?? null;
    if (limits.bytes !== null && usedBytes > limits.bytes) problem = `${usedBytes} bytes`;
    if (recorded.nowMs >= hour.endMs) {
      const instructions = recorded.icount - hour.icount;
      if (instructions < 20e9) problem = `${instructions} instructions in an hour`;
      hour = { endMs: hour.endMs + HOUR_MS, icount: recorded.icount };
    }
    trace.push(recorded.line);
    if (trace.length > TRACED) trace.shift();
    keeper.tick(recorded.nowMs);
    // Its promises move on; those that wait for simulated time stay.
    for (let n = 0; n < 12; n += 1) await null;
  }
  if (problem !== null && process.env.TRACE !== undefined) {
    console.error(trace.join('\n'), recorded.load, (await recorded.view()).generations);
  }
  return {
    problem: problem === null ? null : `${problem}, at ${(recorded.nowMs / 1000).toFixed(1)} s`,
    usedMax,
    usedMean: usedSum / recorded.nowMs,
    held: recorded.heldMs / recorded.nowMs,
    logBytes: recorded.logBytes,
  };
}

function simulation(name: string, base: number, options: Options, more = (_: Outcome) => {}): void {
  test(name, async () => {
    const seeds = Array.from({ length: SEEDS }, (_, index) => base + index);
    for (const seed of ONLY === undefined ? seeds : [Number(ONLY)]) {
      const outcome = await keep(seed, options);
      if (process.env.TRACE !== undefined) console.error(seed, outcome);
      assert.is(outcome.problem, null, `seed ${seed}: ${outcome.problem}`);
      more(outcome);
    }
  });
}

const day = { limits: DEFAULT, hours: 24 };
simulation('a day at the default, from idle to the worst', 1, day, ({ logBytes, usedMean }) => {
  assert.ok(logBytes > 50e9, 'the log was many times the limit');
  assert.ok(usedMean > 0.4e9, `${usedMean} bytes are kept: too few`);
});

const calm = { limits: DEFAULT, hours: 6, machine: MODERATE };
simulation('a guest that logs what a disk can take is not slowed', 100, calm, (outcome) => {
  assert.ok(outcome.held < 0.01, `it stood still for ${outcome.held} of the time`);
  assert.ok(outcome.usedMean > 0.35e9, `${outcome.usedMean} bytes are kept: too few`);
});

simulation('by count and by age, too', 200, {
  limits: { count: 200, ageMs: HOUR_MS, bytes: 1e9 },
  hours: 8,
  check: ({ kept, fulls, nowMs }) => {
    const [, second] = fulls;
    const chain = chainMaxFor({ ...NONE, count: 200, ageMs: HOUR_MS }, VM.everyMs, CHAIN_MAX) + 2;
    if (kept.length > 200 + chain) return `${kept.length} checkpoints`;
    // Back to an hour ago one can go, and not further than it takes.
    const ageMs = nowMs - (second?.createdMs ?? nowMs);
    return ageMs > HOUR_MS + 60_000 ? `the second oldest is ${ageMs} ms old` : null;
  },
});

const broken: Readonly<Record<string, (recorded: Recorded) => void>> = {
  'nobody slows the guest': (recorded) => {
    recorded.holds.hold = () => {};
  },
  'no full checkpoint is asked for': (recorded) => {
    recorded.requestFull = () => {};
  },
  'nothing is deleted': (recorded) => {
    recorded.forgetOldest = async () => null;
  },
};
for (const [what, sabotage] of Object.entries(broken)) {
  test(`it is found when ${what}`, async () => {
    const { problem } = await keep(1, { limits: DEFAULT, hours: 24, sabotage });
    assert.is.not(problem, null);
  });
}

test.run();
