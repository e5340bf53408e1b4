// SPDX-License-Identifier: Apache-2.0
/**
 * A simulated world for a pair: one virtual clock, two hosts that can crash
 * anywhere, a link that delays, cuts, truncates and goes silent, an arbiter, and
 * logs that can fail (sim-log.ts). Time passes only here, so a run is a function of its seed.
 */

import type { Arbiter, Claim, Claimant, Holder } from '../../src/arbiter/arbiter.ts';
import type { Clock, Timer } from '../../src/base/clock.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import { type FrameType, PREFIX_BYTES } from '../../src/log/frame.ts';
import type { Link, LinkEvents } from '../../src/wire/connection.ts';
import { asPeerError } from '../../src/wire/connection.ts';
import { type Frame, FrameParser } from '../../src/wire/parser.ts';
import type { Random } from './random.ts';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class World {
  readonly random: Random;
  readonly trace: string[] = [];
  #now = 0;
  #order = 0;
  #events: Event[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  get now(): number {
    return this.#now;
  }

  note(text: string): void {
    this.trace.push(`${this.#now.toFixed(3)} ${text}`);
  }

  after(ms: number, run: () => void): Timer {
    const event: Event = { at: this.#now + ms, order: this.#order++, run, cancelled: false };
    this.#events.push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** Runs at the end of the simulation: memory that JavaScript does not see is given back. */
  atEnd(run: () => void): void {
    this.#ends.push(run);
  }

  end(): void {
    this.#events = [];
    for (const run of this.#ends.splice(0)) run();
  }

  /** Runs until `untilMs`; `check` after every event. */
  async run(untilMs: number, check: () => void): Promise<void> {
    await settle();
    for (;;) {
      let next: Event | null = null;
      for (const event of this.#events) {
        if (event.cancelled) continue;
        const sooner =
          next === null || event.at < next.at || (event.at === next.at && event.order < next.order);
        if (sooner) next = event;
      }
      if (next === null || next.at > untilMs) {
        // Time passes also while nothing happens.
        this.#now = Math.max(this.#now, untilMs);
        return;
      }
      const chosen = next;
      this.#events = this.#events.filter((event) => event !== chosen && !event.cancelled);
      this.#now = Math.max(this.#now, chosen.at);
      chosen.run();
      await settle();
      check();
    }
  }
}

/** Lets promises run to where they wait for the world again. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 12; turns += 1) await Promise.resolve();
}

/** One machine: when it crashes, nothing of it happens any more. */
export class Host implements Clock {
  readonly name: string;
  readonly world: World;
  alive = true;
  /** Until when its event loop is stalled. */
  #stalledUntil = 0;
  readonly #onCrash: (() => void)[] = [];

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  nowMs(): number {
    return this.world.now;
  }

  realtimeNs(): bigint {
    return BigInt(Math.round(this.world.now * 1e6));
  }

  after(ms: number, run: () => void): Timer {
    return this.world.after(ms, () => this.#guarded(run));
  }

  soon(run: () => void): void {
    this.after(0.001, run);
  }

  stall(ms: number): void {
    this.world.note(`${this.name} stalls for ${ms} ms`);
    this.#stalledUntil = this.world.now + ms;
  }

  onCrash(run: () => void): void {
    this.#onCrash.push(run);
  }

  crash(why: string): void {
    if (!this.alive) return;
    this.world.note(`${this.name} crashes: ${why}`);
    this.alive = false;
    for (const run of this.#onCrash) run();
  }

  #guarded(run: () => void): void {
    if (!this.alive) return;
    if (this.world.now < this.#stalledUntil) {
      this.world.after(this.#stalledUntil - this.world.now, () => this.#guarded(run));
      return;
    }
    run();
  }
}

interface End {
  readonly host: Host;
  events: LinkEvents | null;
  parser: FrameParser | null;
  carrier: Carrier | null;
  heardMs: number | null;
  closed: boolean;
}

/** What a simulated courier does with a frame; false: it is the state machine's. */
type Carrier = (frame: Frame) => boolean;

export interface SimLink extends Link {
  /** Has batches or acks go there from now on. */
  carry(carrier: Carrier): void;
  /** The peer has lied, or cannot be served: the connection is over. */
  fail(error: UnderstudyError): void;
}

/** One TCP connection between two hosts. */
export class SimConnection {
  readonly #world: World;
  readonly #ends: readonly [End, End];
  #silent = false;
  #latestMs: [number, number] = [0, 0];
  #damages: FrameType | null = null;
  readonly delayMs: [number, number];

  constructor(world: World, a: Host, b: Host, delayMs: [number, number]) {
    this.#world = world;
    this.delayMs = delayMs;
    const end = (host: Host): End => ({
      host,
      events: null,
      parser: null,
      carrier: null,
      heardMs: null,
      closed: false,
    });
    this.#ends = [end(a), end(b)];
    // A dead process's kernel closes its sockets.
    a.onCrash(() => this.#hangUp(0));
    b.onCrash(() => this.#hangUp(1));
  }

  open(side: 0 | 1, events: LinkEvents): SimLink {
    const me = this.#ends[side];
    me.events = events;
    me.parser = new FrameParser((frame) => {
      if (me.closed || !me.host.alive || me.carrier?.(frame) === true) return;
      events.frame(frame);
    });
    const send = (frame: Buffer): boolean => {
      if (!me.closed && me.host.alive) this.#deliver(side, Buffer.from(frame));
      return true;
    };
    return {
      remote: this.#ends[1 - side]?.host.name ?? '?',
      carry: (carrier) => {
        me.carrier = carrier;
      },
      heardMs: () => me.heardMs,
      heardBeat: () => null,
      send,
      beat: (frame) => !send(frame),
      end: () => this.#finish(side),
      destroy: () => this.#finish(side),
      fail: (error) => this.#fail(side, error),
    };
  }

  /** The network between the two goes dark: nothing arrives, nothing closes. */
  goSilent(): void {
    this.#silent = true;
  }

  /** A bit of the next frame of this type flips on its way, past its prefix. */
  damageNext(type: FrameType): void {
    this.#damages = type;
  }

  /** The network resets the connection: both sides see it. */
  cut(): void {
    this.#silent = true;
    for (const side of [0, 1] as const) this.#lose(side, 'connection error ECONNRESET');
  }

  #finish(side: 0 | 1): void {
    const me = this.#ends[side];
    if (me.closed) return;
    me.closed = true;
    this.#hangUp(side);
  }

  /** What was sent may arrive in part; then the other side sees the end. */
  #hangUp(side: 0 | 1): void {
    if (this.#silent) return;
    const at = Math.max(this.#world.now + this.delayMs[side], this.#latestMs[side]);
    this.#world.after(at - this.#world.now + 0.0001, () =>
      this.#lose(side === 0 ? 1 : 0, 'the peer closed the connection'),
    );
  }

  #lose(side: 0 | 1, reason: string): void {
    const end = this.#ends[side];
    if (end.closed || !end.host.alive) return;
    end.closed = true;
    end.events?.closed(new UnderstudyError('peer-lost', reason));
  }

  /** In order, in random pieces. */
  #deliver(from: 0 | 1, bytes: Buffer): void {
    const world = this.#world;
    const to = from === 0 ? 1 : 0;
    if (this.#damages !== null && bytes.readUInt16LE(4) === this.#damages) {
      this.#damages = null;
      const bit = world.random.int(PREFIX_BYTES * 8, bytes.length * 8 - 1);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      world.note(`bit ${bit} of a frame of type ${bytes.readUInt16LE(4)} flips`);
    }
    let at = 0;
    while (at < bytes.length) {
      const take = world.random.chance(0.8) ? bytes.length - at : world.random.int(1, 64);
      const piece = bytes.subarray(at, at + take);
      at += take;
      const jitter = world.random.next() * 0.2;
      const arriveMs = Math.max(world.now + this.delayMs[from] + jitter, this.#latestMs[from]);
      this.#latestMs[from] = arriveMs;
      world.after(arriveMs - world.now, () => this.#arrive(from, to, piece));
    }
  }

  #arrive(from: 0 | 1, to: 0 | 1, piece: Buffer): void {
    const end = this.#ends[to];
    if (this.#silent || end.closed || !end.host.alive) return;
    // A crashed sender's last bytes may be lost with it, from anywhere on.
    if (!this.#ends[from].host.alive && this.#world.random.chance(0.5)) {
      this.#lose(to, 'the peer closed the connection in the middle of a frame');
      return;
    }
    end.heardMs = this.#world.now;
    try {
      end.parser?.push(piece);
    } catch (error) {
      this.#fail(to, asPeerError(error));
    }
  }

  #fail(side: 0 | 1, error: UnderstudyError): void {
    const end = this.#ends[side];
    if (end.closed) return;
    end.closed = true;
    this.#hangUp(side);
    end.events?.closed(error);
  }
}

/** The test-and-set itself; asking it takes time, and it can be out of reach. */
export class SimArbiter {
  readonly #world: World;
  #holder: Holder | null = null;
  readonly unreachableFrom = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  get holder(): Holder | null {
    return this.#holder;
  }

  for(host: Host): Arbiter {
    return {
      name: 'sim',
      shared: true,
      claim: (_vmId, term, claimant) =>
        new Promise<Claim>((resolve) => {
          host.after(this.#world.random.next() * 3, () => {
            if (this.unreachableFrom.has(host.name)) {
              resolve({ result: 'unreachable', reason: 'the arbiter is down' });
              return;
            }
            const claim = this.#claim(term, claimant);
            host.after(this.#world.random.next() * 3, () => resolve(claim));
          });
        }),
      holder: () => Promise.resolve(this.#holder),
      probe: () =>
        Promise.resolve(this.unreachableFrom.has(host.name) ? 'the arbiter is down' : null),
    };
  }

  #claim(term: number, claimant: Claimant): Claim {
    const highest = this.#holder?.term ?? 0;
    if (highest >= term) {
      const ours = highest === term && this.#holder?.instance === claimant.instance;
      return ours
        ? { result: 'won', term }
        : { result: 'lost', term: highest, holder: this.#holder };
    }
    if (highest !== term - 1) return { result: 'unreachable', reason: 'a term is missing' };
    this.#holder = { ...claimant, term, claimedAt: 'now' };
    this.#world.note(`term ${term} goes to ${claimant.name}`);
    return { result: 'won', term };
  }
}
