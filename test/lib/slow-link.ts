// SPDX-License-Identifier: Apache-2.0
/** The link between both sides of a pair (it is their network's `lo`), and what they hold of what waits for it. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { Pair, Side } from './pair.ts';

export const MIB = 1 << 20;
export const SIDES = ['primary', 'backup'] as const;
/** The ring of state and what is queued behind it (docs/limits.md), and what Node takes. */
const GROWS_MAX = 160 * MIB;

/** Both ways together. */
export async function limitLink(pair: Pair, megabitPerS: number): Promise<void> {
  const shape = ['rate', `${megabitPerS}mbit`, 'burst', '70000b', 'latency', '50ms'];
  await shapeLink(pair, 'replace', 'dev', 'lo', 'root', 'tbf', ...shape);
}

export async function freeLink(pair: Pair): Promise<void> {
  await shapeLink(pair, 'delete', 'dev', 'lo', 'root');
}

async function shapeLink(pair: Pair, ...words: string[]): Promise<void> {
  assert.is(await pair.output('tc', 'qdisc', ...words), '');
}

/** A daemon's own memory: the image and the ring of state are shared, and have the size that they have. */
async function ownBytes(pair: Pair, side: Side): Promise<number> {
  const pid = (await pair.status(side))?.pid;
  const found = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]) * 1024;
}

/** How much more memory both daemons take than at first. */
export class Grown {
  readonly #pair: Pair;
  readonly #first: readonly number[];
  readonly #most: number[];

  private constructor(pair: Pair, first: readonly number[]) {
    this.#pair = pair;
    this.#first = first;
    this.#most = [...first];
  }

  static async from(pair: Pair): Promise<Grown> {
    return new Grown(pair, await Promise.all(SIDES.map((side) => ownBytes(pair, side))));
  }

  /** One that is gone takes nothing. */
  async look(): Promise<void> {
    for (const [at, side] of SIDES.entries()) {
      const bytes = await ownBytes(this.#pair, side).catch(() => 0);
      this.#most[at] = Math.max(this.#most[at] ?? 0, bytes);
    }
  }

  isBounded(): void {
    SIDES.forEach((side, at) => {
      const grown = (this.#most[at] ?? 0) - (this.#first[at] ?? 0);
      assert.ok(grown < GROWS_MAX, `the ${side} took ${Math.round(grown / MIB)} MiB more`);
    });
  }
}
