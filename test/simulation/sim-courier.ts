// SPDX-License-Identifier: Apache-2.0
/**
 * A courier in a simulated world. What it decides is the product's: shipper, gate and
 * receiver of the addon (addon/testing/sim_courier.h). What its thread does is here: it
 * writes to a log that takes time and can fail, and its events come to JavaScript later.
 */
import type { CourierEvents } from '../../native/kvm-exit-log/index.ts';
import {
  CourierWords,
  type GuestRing,
  type NativeSimCourier,
  simCourier,
} from '../../native/kvm-exit-log/testing.ts';
import type { Timer } from '../../src/base/clock.ts';
import { type ErrorCode, errorCodeOf, messageOf, UnderstudyError } from '../../src/base/errors.ts';
import { type ShippingCourier, shipNumbers } from '../../src/daemon/vm-courier.ts';
import type { LogEntrance } from '../../src/log/entrance.ts';
import { FRAME } from '../../src/log/frame.ts';
import type {
  ReceiveFacts,
  ReceivingOptions,
  ShipFacts,
  ShippingOptions,
} from '../../src/replica/ports.ts';
import type { Frame } from '../../src/wire/parser.ts';
import type { PeerSession } from '../../src/wire/session.ts';
import { SimLog } from './sim-log.ts';
import type { Host, SimLink } from './world.ts';

/** Whose write it is, as the addon numbers them. */
const SHIPS = 0;
const RECEIVES = 1;

/** The thread's moments, as places to crash at; and when it may have let something go. */
export interface CourierHooks {
  sealed(): void;
  acks(): void;
  filled(): void;
  looked(): void;
}

export class SimCourier implements ShippingCourier {
  readonly #host: Host;
  readonly #native: NativeSimCourier;
  readonly #events: Omit<CourierEvents, 'frame' | 'closed' | 'drained'>;
  readonly #hooks: CourierHooks;
  readonly #words = new CourierWords();
  readonly #logs: [SimLog | null, SimLog | null] = [null, null];
  #ships = false;
  #receives = false;
  #session: PeerSession | null = null;
  #inbox: Buffer[] = [];
  #fault: unknown = null;
  #tookBatches = false;
  /** Its thread waits for a write. */
  #writes = false;
  #timer: Timer | null = null;
  #flushed: (() => void)[] = [];
  #prevChecksum = 0n;

  constructor(
    ring: GuestRing,
    host: Host,
    hooks: CourierHooks,
    events: Omit<CourierEvents, 'frame' | 'closed' | 'drained'>,
  ) {
    this.#host = host;
    this.#native = simCourier(ring);
    this.#hooks = hooks;
    this.#events = events;
  }

  ship(options: ShippingOptions): void {
    const { log } = options;
    const continues = log === this.#logs[RECEIVES];
    this.#logs[SHIPS] = log instanceof SimLog ? log : null;
    this.#ships = true;
    this.#native.ship({ ...shipNumbers(options), log: continues ? 'received' : {} });
    this.pump();
  }

  receive({ vmId, term, durability, log, start, session }: ReceivingOptions): void {
    this.#logs[RECEIVES] = log instanceof SimLog ? log : null;
    this.#receives = true;
    const queue = { queueBytesHigh: 1 << 26, queueBytesLow: 1 << 24 };
    const durable = durability === 'disk';
    this.#native.receive({ vmId, term, durable, ...queue, ...(start && { start }) });
    this.attach(session);
  }

  attach(session: PeerSession, from?: LogEntrance): void {
    this.#session = session;
    this.#inbox = [];
    this.#fault = null;
    this.#native.attach(from);
    (session.link as SimLink).carry((frame) => this.#frame(frame));
    this.pump();
  }

  detach(term: number): void {
    this.#native.detach(term);
    this.pump();
  }

  protect(): void {
    this.#native.protect();
    this.pump();
  }

  closeGate(): void {
    this.#command('closeGate');
  }

  reopenGate(): void {
    this.#command('reopenGate');
  }

  stop(): void {
    this.#command('stopSealing');
  }

  closeReceive(): void {
    this.#command('closeReceive');
  }

  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#flushed.push(resolve);
      this.#command('flush');
    });
  }

  shipFacts(): ReturnType<ShippingCourier['shipFacts']> {
    this.#look();
    return this.#words.ship();
  }

  receiveFacts(): ReceiveFacts {
    this.#look();
    return this.#words.receive();
  }

  /** The end of the simulation: its memory goes. */
  dispose(): void {
    this.#timer?.cancel();
    this.#native.destroy();
  }

  /** The first batch after all that is sealed, and the checksum before it. */
  place(): Pick<ShipFacts, 'sequence'> & { prevChecksum: bigint } {
    this.#look();
    return { sequence: this.#words.ship().sequence, prevChecksum: this.#prevChecksum };
  }

  /** The thread runs, as far as it gets without waiting. */
  pump(): void {
    if (this.#writes || !this.#host.alive) return;
    this.#timer?.cancel();
    this.#timer = null;
    const nowNs = Math.round(this.#host.nowMs() * 1e6);
    this.#native.atTime(nowNs);
    if (this.#session?.over === true) this.#native.leave();
    this.#takeFrames();
    const room = this.#native.stepReceiver();
    if (room < 0) {
      this.#write(RECEIVES);
      return;
    }
    if (this.#fault !== null) this.#lose(this.#fault);
    if (this.#tookBatches) this.#hooks.filled();
    this.#tookBatches = false;
    const due = this.#stepShipper();
    if (due < 0) {
      this.#hooks.sealed();
      this.#send();
      this.#write(SHIPS);
      return;
    }
    this.#send();
    this.#tell();
    this.#hooks.looked();
    const lookNs = Math.min(room, due);
    if (lookNs > Number.MAX_SAFE_INTEGER || !this.#host.alive) return;
    // A thread that has more to do at once still takes a moment for it.
    const waitMs = Math.max(0.01, (lookNs - nowNs) / 1e6);
    this.#timer = this.#host.after(waitMs, () => this.pump());
  }

  #command(name: string): void {
    this.#native.command(name);
    this.pump();
  }

  #look(): void {
    this.#prevChecksum = this.#native.facts(this.#words.words) ?? 0n;
  }

  #frame({ type, buffer, offset, length }: Frame): boolean {
    const isOurs = type === FRAME.BATCH ? this.#receives : type === FRAME.ACK && this.#ships;
    if (!isOurs) return false;
    this.#inbox.push(Buffer.from(buffer.subarray(offset, offset + length)));
    this.pump();
    return true;
  }

  #takeFrames(): void {
    const frames = this.#inbox.splice(0);
    if (this.#session === null || this.#session.over || this.#fault !== null) return;
    try {
      for (const frame of frames) this.#native.take(frame);
      this.#tookBatches ||= this.#receives && frames.length > 0;
    } catch (error) {
      this.#fault = error;
    }
    if (!this.#ships || frames.length === 0) return;
    // The real one tells it from its own thread: the session may be over by then.
    const { random } = this.#host.world;
    const waitMs = random.chance(0.5) ? 0 : random.int(1, 20);
    this.#host.after(waitMs, () => this.#events.progress());
  }

  #stepShipper(): number {
    try {
      return this.#native.stepShipper();
    } catch (error) {
      this.#lose(error);
      return this.#native.stepShipper();
    }
  }

  #lose(error: unknown): void {
    this.#fault = null;
    this.#native.leave();
    const code = (errorCodeOf(error) ?? 'internal') as ErrorCode;
    const link = this.#session?.link as SimLink | undefined;
    link?.fail(new UnderstudyError(code, messageOf(error)));
  }

  #send(): void {
    const bytes = this.#native.sent();
    if (bytes !== null && !this.#ships) this.#hooks.acks();
    if (bytes !== null && this.#host.alive && this.#session?.over === false) {
      this.#session.send(bytes);
    }
  }

  #write(side: 0 | 1): void {
    if (!this.#host.alive) return;
    this.#writes = true;
    const log = this.#logs[side];
    if (log === null) throw new Error('the shipper asks for no write without a log');
    log.append(this.#native.unwritten(side), (error) => {
      this.#writes = false;
      this.#native.written(side, error?.message);
      this.pump();
    });
  }

  /** In order, and later. */
  #tell(): void {
    const told = this.#native.events();
    if (told === null) return;
    const { random } = this.#host.world;
    this.#host.after(random.chance(0.5) ? 0 : random.next() * 0.5, () => {
      for (const [kind, text, more, bytes] of told) this.#event(kind, text, more, bytes);
    });
  }

  #event(kind: number, text: string, more: string, bytes: Buffer): void {
    const name = CourierWords.event(kind);
    if (name === 'console') this.#events.console(bytes);
    if (name === 'first') this.#events.first();
    if (name === 'logFailed') this.#events.logFailed(text, more);
    if (name === 'broken') this.#events.broken(text);
    if (name === 'flushed') for (const resolve of this.#flushed.splice(0)) resolve();
  }
}
