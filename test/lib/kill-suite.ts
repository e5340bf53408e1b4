// SPDX-License-Identifier: Apache-2.0
/** A test for each place where a process is killed, some of them played at a time. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Test } from 'uvu';
import * as assert from 'uvu/assert';
import { randomFrom } from '../../src/lab/frames.ts';
import { scratch } from './command.ts';
import { type Guest, referenceGuest } from './workloads.ts';

/** Pairs at a time: one computes while another waits. */
const LANES = Number(process.env.LANES ?? 2);
const PASSAGES_MAX = 30;

export const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

export interface Play<Point> {
  readonly point: Point;
  /** Number of the passage through the place, from 1. */
  readonly passage: number;
  readonly seed: number;
  readonly guest: Guest;
  /** A folder for it alone. */
  readonly dir: string;
}

export interface KillTests<Point> {
  /** Its path below test/, without an ending. */
  readonly file: string;
  readonly points: readonly Point[];
  readonly titleOf: (point: Point, index: number) => string;
  /** @returns figures for people */
  readonly play: (play: Play<Point>, index: number) => Promise<string>;
}

/** SEED chooses which passage is fatal, POINTS which titles. */
export function killTests<Point>(tests: Test, o: KillTests<Point>): void {
  const wanted = new RegExp(process.env.POINTS ?? '');
  const random = randomFrom(seed);
  const plays = o.points
    .map((point, index) => ({
      point,
      index,
      title: o.titleOf(point, index),
      passage: 1 + Math.floor(random() * PASSAGES_MAX),
    }))
    .filter(({ title }) => wanted.test(title));
  tests('there is a place to die at', () => {
    assert.ok(plays.length > 0, `no point is called ${wanted}`);
  });
  const dir = scratch(o.file.replaceAll('/', '-'));
  const guest = plainGuest(dir);
  const results: Promise<string>[] = [];
  for (const [at, { point, index, title, passage }] of plays.entries()) {
    const result = (async () => {
      await results[at - LANES]?.catch(() => {}); // its own test tells
      const own = join(dir, String(index));
      mkdirSync(own);
      return o.play({ point, passage, seed, guest: await guest, dir: own }, index);
    })();
    result.catch(() => {}); // until its test awaits it
    results.push(result);
    tests(title, async () => {
      try {
        console.log(`${title} (passage ${passage}): ${await result}`);
      } catch (error) {
        const again = `again with SEED=${seed} POINTS='${title}' npm test ${o.file}`;
        throw new Error(`${error instanceof Error ? error.message : error}\n${again}`);
      }
    });
  }
}

/**
 * Boots are what takes time here. A fifth of one is the kernel's inflating of its
 * initrd, done here once; some more is a table for tracing, which nobody reads.
 */
async function plainGuest(dir: string): Promise<Guest> {
  const found = await referenceGuest();
  const initrd = join(dir, 'initrd');
  writeFileSync(initrd, gunzipSync(readFileSync(found.initrd)));
  return { ...found, initrd, append: `${found.append} initcall_blacklist=trace_eval_init` };
}
