// SPDX-License-Identifier: Apache-2.0
/**
 * One debugger's place in a recording, and how it moves: forward on the inferior that
 * stands there, backward on another one.
 */
import { advance, comparePoints, type Point } from '../base/position.ts';
import { checkInside, type Extent } from './extent.ts';
import type { Inferior } from './inferior.ts';
import { comparePlaces, type Hit, type Place, placeAt, type Stop } from './place.ts';
import type { Pool } from './pool.ts';
import { HitMemory, hitsBefore } from './reverse.ts';
import { type Aim, Aims, aimText } from './watch.ts';

/** How a movement ended. `begin` and `end`: the recording goes no further. */
export interface Arrival {
  readonly why: 'there' | 'hit' | 'pause' | 'begin' | 'end';
  readonly hit: Hit | null;
  /** All that were met at that place, in order; the last of them is `hit`. */
  readonly hits?: readonly Hit[];
}

const THERE: Arrival = { why: 'there', hit: null };
const PAUSED: Arrival = { why: 'pause', hit: null };

export class Traveller {
  readonly extent: Extent;
  /** Break- and watchpoints as gdb names them: `TYPE,ADDRESS,LENGTH`. */
  readonly points = new Set<string>();
  readonly #memory = new HitMemory();
  readonly #aims = new Aims();
  readonly #pool: Pool;
  #inferior: Inferior;
  #cpu = 0;
  #vtimeNs = 0n;
  #moving: Inferior | null = null;
  #cancelled = false;

  private constructor(pool: Pool, extent: Extent, inferior: Inferior) {
    this.#pool = pool;
    this.extent = extent;
    this.#inferior = inferior;
  }

  static async start(pool: Pool, extent: Extent, point: Point): Promise<Traveller> {
    const found = await pool.at(placeAt(point));
    if (found === null) throw new Error('nobody could pause it');
    const traveller = new Traveller(pool, extent, found.inferior);
    traveller.#saw(found.stop);
    return traveller;
  }

  /** A debugger is there, who may want to go back. */
  prepare(): void {
    this.#pool.prepare(this.place);
  }

  get place(): Place {
    return this.#inferior.place;
  }

  get vtimeNs(): bigint {
    return this.#vtimeNs;
  }

  /** Index of the vCPU whose turn it is. */
  get cpu(): number {
    return this.#cpu;
  }

  /** What stands at the place. */
  get inferior(): Inferior {
    return this.#inferior;
  }

  /** A movement is over, or was refused: an interrupt was for that one. */
  settled(): void {
    this.#cancelled = false;
  }

  /** Ends the movement soon, also one that was asked for and has not begun. */
  interrupt(): void {
    this.#cancelled = true;
    this.#moving?.pause();
  }

  async stepForward(): Promise<Arrival> {
    return this.#forward(advance(this.place.point, 1n));
  }

  continueForward(): Promise<Arrival> {
    return this.#forward(this.extent.end);
  }

  async #forward(point: Point): Promise<Arrival> {
    const { end } = this.extent;
    if (comparePoints(this.place.point, end) >= 0) return { why: 'end', hit: null };
    const inferior = this.#inferior;
    await inferior.setPoints(this.points, await this.#aims.of(this.points, inferior));
    if (!this.#moves(inferior)) return PAUSED;
    const stop = await inferior.run('stop', placeAt(point));
    this.#moving = null;
    this.#saw(stop);
    if (stop.reason !== 'there') this.prepare();
    if (stop.reason === 'hit') return { why: 'hit', hit: stop.hits[0] ?? null, hits: stop.hits };
    if (stop.reason === 'pause') return PAUSED;
    const atEnd = stop.reason === 'end' || comparePoints(point, end) >= 0;
    return atEnd ? { why: 'end', hit: null } : THERE;
  }

  async stepBackward(): Promise<Arrival> {
    const here = this.place;
    if (here.phase > 0) {
      if (!(await this.goTo(placeAt(here.point)))) return PAUSED;
      // What is pending when an instruction ends is delivered at once: no state before.
      if (comparePlaces(this.place, here) < 0) return THERE;
    }
    if (comparePoints(here.point, this.extent.begin) <= 0) return { why: 'begin', hit: null };
    return (await this.goTo(placeAt(advance(here.point, -1n)))) ? THERE : PAUSED;
  }

  async continueBackward(): Promise<Arrival> {
    const hits = await this.#lastHits();
    if (hits === 'cancelled') return PAUSED;
    const hit = hits.at(-1) ?? null;
    const place = hit?.place ?? placeAt(this.extent.begin);
    if (!(await this.goTo(place))) return PAUSED;
    return hit === null ? { why: 'begin', hit } : { why: 'hit', hit, hits };
  }

  /** At the last place before this one that has any, in order. */
  async #lastHits(): Promise<readonly Hit[] | 'cancelled'> {
    if (this.points.size === 0) return [];
    const aims = await this.#aims.of(this.points, this.#inferior);
    const wanted = new Set([...this.points, aimText(aims)]);
    const known = this.#memory.before(wanted, this.place);
    if (known.length > 0) return known;
    const hits = await this.#search(aims);
    if (hits === 'cancelled') return hits;
    this.#memory.remember(wanted, this.place, hits);
    return this.#memory.before(wanted, this.place);
  }

  #search(aims: readonly Aim[]): Promise<readonly Hit[] | 'cancelled'> {
    return hitsBefore<Inferior>({
      from: this.place,
      begin: this.extent.begin,
      fresh: async (point) => {
        const inferior = await this.#pool.fresh(point);
        await inferior.setPoints(this.points, aims);
        this.#moves(inferior);
        return inferior;
      },
      done: (inferior) => {
        this.#moving = null;
        return this.#pool.release(inferior);
      },
      isCancelled: () => this.#cancelled,
    });
  }

  /**
   * @returns false when it was interrupted: nothing has moved then
   * @throws UnderstudyError usage when the place is not in the recording; as above
   */
  async goTo(place: Place): Promise<boolean> {
    checkInside(place.point, this.extent);
    const old = this.#inferior;
    const near = comparePlaces(place, old.place) >= 0;
    if (near && comparePoints(await this.#pool.startOf(place), old.place.point) <= 0) {
      if (!this.#moves(old)) return false;
      const stop = await old.run('pass', place);
      this.#moving = null;
      this.#saw(stop);
      return stop.reason !== 'pause';
    }
    const found = await this.#pool.at(place, (moving) => this.#moves(moving));
    this.#moving = null;
    if (found === null) return false;
    this.#inferior = found.inferior;
    this.#saw(found.stop);
    await this.#pool.release(old);
    this.#pool.prepare(this.place);
    return true;
  }

  /** An inferior has died: another one, at that place. */
  async recover(place: Place): Promise<void> {
    this.#moving = null;
    const old = this.#inferior;
    await this.#pool.forgetSpare();
    const found = await this.#pool.at(place);
    if (found === null) return;
    this.#inferior = found.inferior;
    this.#saw(found.stop);
    await this.#pool.release(old);
  }

  /** It can be interrupted from now on. @returns whether nobody has done so before */
  #moves(inferior: Inferior): boolean {
    this.#moving = inferior;
    return !this.#cancelled;
  }

  #saw(stop: Stop): void {
    this.#cpu = stop.cpu;
    this.#vtimeNs = stop.vtimeNs;
  }
}
