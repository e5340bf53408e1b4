// SPDX-License-Identifier: Apache-2.0
/**
 * One debugger's place in a recording, and how it moves: forward on the machine that
 * stands there, backward on another one.
 */
import { checkInside, type Extent } from './extent.ts';
import type { Machine } from './machine.ts';
import { comparePlaces, type Hit, type Place, placeAt, type Stop } from './place.ts';
import type { Pool } from './pool.ts';
import { lastHitBefore } from './reverse.ts';

/** How a movement ended. `begin` and `end`: the recording goes no further. */
export interface Arrival {
  readonly why: 'there' | 'hit' | 'pause' | 'begin' | 'end';
  readonly hit: Hit | null;
}

export class Traveller {
  readonly extent: Extent;
  /** As gdb names them: `TYPE,ADDRESS,LENGTH`. */
  readonly points = new Set<string>();
  readonly #pool: Pool;
  #machine: Machine;
  #cpu = 0;
  #vtimeNs = 0n;
  #moving: Machine | null = null;
  #cancelled = false;

  private constructor(pool: Pool, extent: Extent, machine: Machine) {
    this.#pool = pool;
    this.extent = extent;
    this.#machine = machine;
  }

  static async start(pool: Pool, extent: Extent, icount: bigint): Promise<Traveller> {
    const machine = await pool.fresh(icount);
    const traveller = new Traveller(pool, extent, machine);
    traveller.#saw(await machine.run('pass', placeAt(icount)));
    pool.prepare(traveller.place);
    return traveller;
  }

  get place(): Place {
    return this.#machine.place;
  }

  get vtimeNs(): bigint {
    return this.#vtimeNs;
  }

  /** Index of the vCPU whose turn it is. */
  get cpu(): number {
    return this.#cpu;
  }

  /** What stands at the place. */
  get machine(): Machine {
    return this.#machine;
  }

  /** Ends a movement soon. */
  interrupt(): void {
    this.#cancelled = true;
    this.#moving?.pause();
  }

  async stepForward(): Promise<Arrival> {
    return this.#forward(this.place.icount + 1n);
  }

  continueForward(): Promise<Arrival> {
    return this.#forward(this.extent.end);
  }

  async #forward(icount: bigint): Promise<Arrival> {
    if (this.place.icount >= this.extent.end) return { why: 'end', hit: null };
    this.#cancelled = false;
    await this.#machine.setPoints(this.points);
    const stop = await this.#moves(this.#machine, () => this.#machine.run('stop', placeAt(icount)));
    this.#saw(stop);
    if (stop.reason === 'hit') return { why: 'hit', hit: stop.hits[0] ?? null };
    if (stop.reason === 'pause') return { why: 'pause', hit: null };
    const atEnd = stop.reason === 'end' || icount >= this.extent.end;
    return { why: atEnd ? 'end' : 'there', hit: null };
  }

  async stepBackward(): Promise<Arrival> {
    const here = this.place;
    if (here.phase > 0) {
      await this.goTo(placeAt(here.icount));
      // What is pending when an instruction ends is delivered at once: no state before.
      if (comparePlaces(this.place, here) < 0) return { why: 'there', hit: null };
    }
    if (here.icount <= this.extent.begin) return { why: 'begin', hit: null };
    await this.goTo(placeAt(here.icount - 1n));
    return { why: 'there', hit: null };
  }

  async continueBackward(): Promise<Arrival> {
    this.#cancelled = false;
    const hit =
      this.points.size === 0
        ? null
        : await lastHitBefore({
            from: this.place,
            begin: this.extent.begin,
            fresh: async (icount) => {
              const machine = await this.#pool.fresh(icount);
              await machine.setPoints(this.points);
              this.#moving = machine;
              if (this.#cancelled) machine.pause();
              return machine;
            },
            done: async (machine) => {
              this.#moving = null;
              await this.#pool.release(machine as Machine);
            },
            isCancelled: () => this.#cancelled,
          });
    if (hit === 'cancelled') return { why: 'pause', hit: null };
    if (hit !== null) {
      await this.goTo(hit.place);
      return { why: 'hit', hit };
    }
    await this.goTo(placeAt(this.extent.begin));
    return { why: 'begin', hit: null };
  }

  /** @throws UnderstudyError usage when it is not in the recording; nothing has moved then */
  async goTo(place: Place): Promise<void> {
    checkInside(place.icount, this.extent);
    const old = this.#machine;
    if (comparePlaces(place, old.place) >= 0 && (await this.#isNear(place))) {
      this.#saw(await old.run('pass', place));
      return;
    }
    const machine = await this.#pool.at(place);
    this.#machine = machine;
    this.#saw(machine.last ?? (await machine.run('pass', place)));
    await this.#pool.release(old);
    this.#pool.prepare(this.place);
  }

  /** A machine has died: another one, at that place. */
  async recover(place: Place): Promise<void> {
    this.#moving = null;
    const old = this.#machine;
    this.#machine = await this.#pool.at(place);
    if (this.#machine.last !== null) this.#saw(this.#machine.last);
    await this.#pool.release(old);
  }

  /** Whether going on from here is less than starting at a later checkpoint. */
  async #isNear(place: Place): Promise<boolean> {
    const start = await this.#pool.startOf(place);
    return start <= this.place.icount;
  }

  async #moves<T>(machine: Machine, move: () => Promise<T>): Promise<T> {
    this.#moving = machine;
    try {
      const moved = move();
      if (this.#cancelled) machine.pause();
      return await moved;
    } finally {
      this.#moving = null;
    }
  }

  #saw(stop: Stop): void {
    this.#cpu = stop.cpu;
    this.#vtimeNs = stop.vtimeNs;
  }
}
