// SPDX-License-Identifier: Apache-2.0
/**
 * A debugger at random: points on what the guest just used, runs that stop at them, list
 * them or pass over them, single steps, pauses. QEMU compares every digest and output on
 * the way, and the final digest, so that looking must not have changed anything.
 */
import { createLogger } from '../../src/base/logger.ts';
import { advance, comparePoints, nameOf, POWER_ON, type Point } from '../../src/base/position.ts';
import { Inferior } from '../../src/debug/inferior.ts';
import { comparePlaces, placeAt } from '../../src/debug/place.ts';
import { Random } from '../../src/lab/random.ts';
import { openRecording } from '../../src/recording/folder.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';

const POINTS_MAX = 4;
/** In gdb's numbering of x86-64. */
const REGISTER = { rdi: 5, rsp: 7, rip: 16 } as const;
const MODES = ['stop', 'stop', 'list', 'pass'] as const;

export interface RandomFacts {
  readonly runs: number;
  readonly hits: number;
  readonly steps: number;
  readonly pauses: number;
}

/** From power-on to the END. @throws Error when a stop was wrong, or the replay diverged */
export async function debugAtRandom(
  dir: string,
  { seed, seconds }: { readonly seed: number; readonly seconds: number },
): Promise<RandomFacts> {
  const recording = openRecording(dir);
  const end = (recording.end ?? POWER_ON).point;
  const logger = createLogger({ name: 'debug' });
  const inferior = await Inferior.start({ recording, qemu: await findQemu(), logger, start: null });
  try {
    return await new RandomDebugger(inferior, end, new Random(seed)).run(seconds);
  } finally {
    await inferior.kill();
  }
}

class RandomDebugger {
  readonly #inferior: Inferior;
  readonly #end: Point;
  readonly #random: Random;
  readonly #points = new Set<string>();
  #runs = 0;
  #hits = 0;
  #steps = 0;
  #pauses = 0;

  constructor(inferior: Inferior, end: Point, random: Random) {
    this.#inferior = inferior;
    this.#end = end;
    this.#random = random;
  }

  async run(seconds: number): Promise<RandomFacts> {
    const deadline = performance.now() + seconds * 1000;
    await this.#inferior.run('pass', this.#inferior.place);
    while (!(await this.#once(performance.now() > deadline)));
    const facts = { runs: this.#runs, hits: this.#hits };
    return { ...facts, steps: this.#steps, pauses: this.#pauses };
  }

  /** @returns whether it is at the end, with the digest that was recorded */
  async #once(late: boolean): Promise<boolean> {
    const inferior = this.#inferior;
    if (this.#random.below(3) === 0) await this.#changePoints();
    if (late) this.#points.clear();
    await inferior.setPoints(this.#points);
    const mode = MODES[this.#random.below(MODES.length)] ?? 'pass';
    const steps = 1 + this.#random.below(2 ** this.#random.below(28));
    const far = advance(inferior.place.point, BigInt(steps));
    const timer = this.#random.below(10) === 0 ? setTimeout(() => inferior.pause(), 5) : null;
    const from = inferior.place;
    // Also before what devices do there.
    const phase = this.#random.below(4) === 0 ? -1 : 0;
    const isOver = late || comparePoints(far, this.#end) > 0;
    const to = isOver ? placeAt(this.#end) : { point: far, phase };
    const stop = await inferior.run(mode, to);
    if (timer !== null) clearTimeout(timer);
    if (comparePlaces(stop.place, from) < 0) throw new Error('the guest ran back');
    this.#runs += 1;
    this.#hits += stop.hits.length;
    if (stop.reason === 'pause') this.#pauses += 1;
    if (stop.reason === 'end') return true;
    const [hit] = stop.hits;
    if (stop.reason === 'hit' && hit?.kind === 'breakpoint') {
      const { rip } = await this.#registers();
      if (rip !== hit.address) throw new Error(`stopped at ${rip}, not at ${hit.address}`);
    }
    if (this.#random.below(5) === 0) await this.#step(this.#random.below(30));
    if (this.#random.below(4) === 0) {
      const { rsp } = await this.#registers();
      await inferior.ask(`m${rsp.toString(16)},40`);
    }
    return false;
  }

  async #changePoints(): Promise<void> {
    const { rip, rsp, rdi } = await this.#registers();
    const [oldest] = this.#points;
    if (oldest !== undefined && this.#points.size >= POINTS_MAX) this.#points.delete(oldest);
    const hex = (value: bigint): string => value.toString(16);
    switch (this.#random.below(3)) {
      case 0:
        this.#points.add(`${this.#random.below(2)},${hex(rip)},1`);
        break;
      case 1:
        this.#points.add(`${2 + this.#random.below(3)},${hex(rsp - 8n)},8`);
        break;
      default:
        this.#points.add(`${2 + this.#random.below(3)},${hex(rdi)},${1 << this.#random.below(4)}`);
    }
  }

  async #step(count: number): Promise<void> {
    for (let n = 0; n < count && comparePoints(this.#inferior.place.point, this.#end) < 0; n += 1) {
      const wanted = advance(this.#inferior.place.point, 1n);
      const stop = await this.#inferior.run('pass', placeAt(wanted));
      if (comparePoints(stop.place.point, wanted) !== 0) {
        throw new Error(`a step went to ${nameOf(stop.place.point)}`);
      }
      this.#steps += 1;
    }
  }

  async #registers(): Promise<Record<keyof typeof REGISTER, bigint>> {
    const bytes = Buffer.from(await this.#inferior.ask('g'), 'hex');
    const value = (index: number): bigint => bytes.readBigUInt64LE(index * 8);
    return { rdi: value(REGISTER.rdi), rsp: value(REGISTER.rsp), rip: value(REGISTER.rip) };
  }
}
