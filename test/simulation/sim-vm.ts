// SPDX-License-Identifier: Apache-2.0
/**
 * A simulated QEMU on a real ring: executes, logs inputs and outputs, holds packets until
 * they are committed, replays a log up to its horizon, goes live at its end. Daemon, courier
 * and gate around it are the product's.
 */

import { CONTROL, type RingState } from '../../native/kvm-exit-log/index.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { sleep } from '../../src/base/clock.ts';
import { atIcount } from '../../src/base/position.ts';
import { HostRing } from '../../src/daemon/adapters.ts';
import { HostShipping } from '../../src/daemon/vm-courier.ts';
import type { Origin, Start } from '../../src/log/entrance.ts';
import { KIND } from '../../src/log/kinds.ts';
import { logError } from '../../src/log/log-file.ts';
import type {
  GivenState,
  Receiving,
  ReceivingOptions,
  Ring,
  Shipping,
  ShippingOptions,
  StateSource,
  Stuck,
  Vm,
  VmExit,
} from '../../src/replica/ports.ts';
import type { DiskNews } from '../../src/vm/disk-news.ts';
import { Holds } from '../../src/vm/holds.ts';
import { encodeCheckpoint } from '../../src/wire/joining.ts';
import type { PeerSession } from '../../src/wire/session.ts';
import { SimCourier } from './sim-courier.ts';
import type { Hooks } from './sim-hooks.ts';
import { DISK_BYTES, pack, SimSender, unpack } from './sim-state.ts';
import type { Host } from './world.ts';

type Sight = ReturnType<GuestRing['sees']>;

interface Held {
  readonly ordinal: bigint;
  /** Its number among the packets since power-on. */
  readonly output: bigint;
}

const STEP_MS = 0.5;
const INSTRUCTIONS_PER_STEP = 50_000n;
const UNBOUNDED = 0xffff_ffff_ffff_ffffn;

export class SimVm implements Vm {
  readonly ring: Ring;
  readonly holds: Holds;
  readonly pid = 4242;
  readonly exited: Promise<void>;
  readonly #guest = new GuestRing({ recordSlots: 256, dataBytes: 4096 });
  readonly #host: Host;
  readonly #hooks: Hooks;
  readonly #courier: SimCourier;
  #shipping: HostShipping | null = null;
  #receiving: ReceivingOptions | null = null;
  #resolveExited: () => void = () => {};
  #exitListeners: ((exit: VmExit) => void)[] = [];
  #state: RingState = 'init';
  #gone = false;
  #icount = 0n;
  #visits = 0n;
  /** A state is taken of it: it stands still. */
  #paused = false;
  /** Packets waiting for a commit (recording), or for going live (replaying). */
  #held: Held[] = [];
  #outputs = 0n;
  #committed = 0n;
  #released = 0n;
  #detached = false;
  #ended = false;
  readonly #diskListeners: ((news: DiskNews) => void)[] = [];

  constructor(
    host: Host,
    mode: 'record' | 'replay',
    hooks: Hooks,
    startMs: number,
    from: Origin | null = null,
  ) {
    this.#host = host;
    this.#hooks = hooks;
    this.ring = new HostRing(this.#guest);
    this.holds = new Holds((bound) => this.#guest.setBound(bound));
    if (from !== null) {
      const state = unpack(from.chain);
      this.#icount = state.icount;
      this.#outputs = state.outputs;
      this.#released = state.released;
      this.#guest.startAt(from.entrance.recordBase, from.entrance.dataBase);
    }
    this.#courier = new SimCourier(
      this.#guest,
      host,
      {
        sealed: () => hooks.sealed(),
        acks: () => hooks.acks(),
        filled: () => hooks.filled(),
        looked: () => this.#send(),
      },
      {
        console: (bytes) => this.#console(bytes),
        first: () => this.#receiving?.first(),
        logEnded: () => this.#receiving?.ended(),
        diverged: (message) => this.#receiving?.diverged(message),
        progress: () => this.#shipping?.options.progress(),
        logFailed: (errno, path) => {
          const reason = logError(errno, path).message;
          if (this.#shipping !== null) this.#shipping.failed(reason);
          else this.#receiving?.storeFailed(reason);
        },
        broken: (message) => {
          throw new Error(message);
        },
      },
    );
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    host.after(startMs, () => {
      this.#state = mode === 'record' ? 'recording' : 'replaying';
      this.#step();
    });
    host.onCrash(() => {
      this.#gone = true; // PDEATHSIG
    });
    host.world.atEnd(() => {
      this.#gone = true;
      this.#courier.dispose();
      this.#guest.destroy();
    });
  }

  /** Can this VM send packets by itself? */
  get live(): boolean {
    return !this.#gone && this.#state === 'recording' && this.#detached;
  }

  get leads(): boolean {
    return this.#state === 'recording';
  }

  get running(): boolean {
    return !this.#gone;
  }

  /** Packets since power-on. */
  get outputs(): bigint {
    return this.#outputs;
  }

  get source(): StateSource {
    return {
      refusal: null,
      give: (to, _have, progress, signal) => this.#give(to, progress, signal),
    };
  }

  async #give(
    to: PeerSession,
    progress: (percent: number, doing: string) => void,
    signal: AbortSignal,
  ): Promise<GivenState | null> {
    const { random } = this.#host.world;
    const sender = new SimSender(to);
    const quarter = BigInt(DISK_BYTES / 4);
    for (let block = 0n; block < 4n; block += 1n) {
      await sleep(this.#host, random.next() * 20);
      if (signal.aborted) return null;
      progress(Number(block) * 10, 'copying disks');
      const data = new Uint8Array(Number(quarter)).fill(1);
      sender.send(0, block * quarter, random.chance(0.5) ? { data } : { bytes: quarter });
    }
    const start = await this.#place();
    progress(90, 'copying memory');
    to.send(encodeCheckpoint(String(start.packed.length)));
    const half = start.packed.length >> 1;
    sender.send(1, 0n, { data: start.packed.subarray(0, half) });
    await sleep(this.#host, random.next() * 20);
    sender.send(1, BigInt(half), { data: start.packed.subarray(half) });
    return signal.aborted ? null : { start: start.at, pieces: sender.pieces, pauseMs: 0 };
  }

  /** A checkpoint, and where the log goes on from it. */
  async #place(): Promise<{ at: Start; packed: Buffer }> {
    this.#paused = true;
    if (this.#shipping === null || this.#gone) throw new Error('the VM ended');
    await this.#shipping.flush();
    const { outHead: recordBase, outDataHead: dataBase } = this.#guest.sees();
    const packed = pack({
      icount: this.#icount,
      outputs: this.#outputs,
      released: this.#released,
    });
    const entrance = { segment: 1, recordBase, dataBase, ...this.#courier.place() };
    this.#paused = false;
    return { at: { point: atIcount(this.#icount), entrance }, packed };
  }

  onDisk(run: (news: DiskNews) => void): void {
    this.#diskListeners.push(run);
  }

  /** Its QEMU says something of a disk. */
  says(news: DiskNews): void {
    for (const run of this.#diskListeners) run(news);
  }

  /** Its courier does. */
  isStuck(what: Stuck, message: string): void {
    (this.#shipping?.options ?? this.#receiving)?.stuck(what, message);
  }

  onExit(run: (exit: VmExit) => void): void {
    this.#exitListeners.push(run);
  }

  kill(): void {
    this.#exit({ reason: 'killed', message: 'killed' });
  }

  /** The guest switches itself off; as in QEMU, what it put out last may still be held. */
  powersOff(): void {
    this.#ended = true;
    this.#put(KIND.END);
    this.#state = 'ended';
    this.#exit({ reason: 'ended', message: 'the guest powered off' });
  }

  /** QEMU dies by itself. */
  die(): void {
    this.#exit({ reason: 'failed', message: 'QEMU died of SIGSEGV' });
  }

  diverge(): void {
    this.#state = 'diverged';
    this.#exit({ reason: 'diverged', message: 'expected NET_OUT, got NET_IN' });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  ship(options: ShippingOptions): Shipping {
    this.#courier.ship(options);
    this.#shipping = new HostShipping(this.#courier, options, (session, from) =>
      this.#courier.attach(session, from),
    );
    return this.#shipping;
  }

  receive(options: ReceivingOptions): Receiving {
    this.#receiving = options;
    this.#courier.receive(options);
    return {
      close: () => this.#courier.closeReceive(),
      handOver: () => {},
      facts: () => this.#courier.receiveFacts(),
    };
  }

  /** What a live VM printed names the record that has it; a backup has its primary's, too. */
  #console(bytes: Buffer): void {
    (this.#shipping?.options ?? this.#receiving)?.console(bytes);
    if (this.#shipping === null) return;
    for (const word of bytes.toString().trim().split(' ')) this.#hooks.shown(BigInt(word));
  }

  #step(): void {
    if (this.#gone || !this.#host.alive) return;
    this.#visits += 1n;
    const sees = this.#guest.sees();
    this.#detached = (sees.control & CONTROL.DETACHED) !== 0;
    if (this.#state === 'recording') this.#record(sees);
    else if (this.#state === 'replaying') this.#replay(sees);
    this.#publish();
    if (!this.#host.alive) return;
    this.#courier.pump();
    this.#send();
    if (this.#gone || !this.#host.alive) return;
    this.#host.after(STEP_MS, () => this.#step());
  }

  #publish(): void {
    this.#guest.says({
      state: this.#state,
      ended: this.#ended,
      icount: this.#icount,
      outputs: this.#outputs,
      released: this.#released,
      visits: this.#visits,
    });
  }

  #record({ control, icountMax, inPending }: Sight): void {
    const { random } = this.#host.world;
    const isHeld = this.#icount >= icountMax;
    let stops = (control & CONTROL.STOP) !== 0;
    const commands = inPending > 0n ? this.#guest.take(UNBOUNDED) : [];
    for (const [, kind] of commands) stops ||= kind === KIND.POWERDOWN;
    if (!isHeld && !this.#paused) {
      this.#icount += INSTRUCTIONS_PER_STEP;
      if (random.chance(0.3)) {
        const kinds = [KIND.NET_OUT, KIND.BLK_DONE, KIND.NET_OUT, KIND.CHAR_OUT] as const;
        this.#put(kinds[random.int(0, 3)] ?? KIND.NET_OUT);
      }
    }
    if (stops && !this.#ended) {
      this.#ended = true;
      this.#put(KIND.END);
    }
    if (this.#ended && this.#held.length === 0) {
      this.#state = 'ended';
      this.#exit({ reason: 'ended', message: 'the VM was stopped' });
    }
  }

  #put(kind: number): void {
    const { outHead } = this.#guest.sees();
    const text = kind === KIND.CHAR_OUT ? Buffer.from(`${outHead} `) : undefined;
    const bytes = kind === KIND.NET_OUT ? 60 : 0;
    const ordinal = this.#guest.put(kind, this.#icount, bytes, this.#icount, text);
    if (ordinal === null) return; // the guest waits, and tries again
    if (kind === KIND.NET_OUT || kind === KIND.END) this.#hold(ordinal, kind === KIND.NET_OUT);
    this.#hooks.produced();
  }

  #hold(ordinal: bigint, isPacket: boolean): void {
    this.#held.push({ ordinal, output: isPacket ? this.#outputs : -1n });
    if (isPacket) this.#outputs += 1n;
  }

  /** QEMU looks at what is committed. */
  #send(): void {
    if (this.#gone || !this.#host.alive || this.#state !== 'recording') return;
    const { commit } = this.#guest.sees();
    const isMore = commit > this.#committed;
    if (isMore) this.#hooks.beforeCommit();
    if (!this.#host.alive) return;
    this.#committed = commit;
    while (this.#held.length > 0) {
      const first = this.#held[0];
      if (first === undefined || (!this.#detached && first.ordinal >= commit)) break;
      this.#held.shift();
      if (first.output < 0n) continue;
      this.#released += 1n;
      this.#hooks.left(first.ordinal, first.output);
    }
    if (isMore) this.#hooks.afterCommit();
  }

  #replay({ control, inHorizon, inPending, outputsSent }: Sight): void {
    // A little faster than it is recorded.
    const to = this.#icount + INSTRUCTIONS_PER_STEP * 2n;
    const reached = to < inHorizon ? to : inHorizon;
    if (reached > this.#icount) this.#icount = reached;
    const records = inPending > 0n ? this.#guest.take(this.#icount) : [];
    for (const [ordinal, kind] of records) {
      if (kind === KIND.NET_OUT) this.#hold(ordinal, true);
      if (kind === KIND.END) {
        this.#ended = true;
        this.#state = 'ended';
        this.#exit({ reason: 'ended', message: 'the VM was stopped' });
        return;
      }
      this.#hooks.executed();
      if (!this.#host.alive) return;
    }
    // Those that the primary has sent need not be kept.
    this.#released = outputsSent;
    const isAtEnd = this.#icount >= inHorizon && BigInt(records.length) === inPending;
    if ((control & CONTROL.GO_LIVE) === 0 || !isAtEnd) return;
    this.#guest.goesLive();
    this.#state = 'recording';
    this.#detached = (control & CONTROL.DETACHED) !== 0;
    this.#hooks.wentLive();
  }

  #exit(exit: VmExit): void {
    if (this.#gone) return;
    this.#publish();
    this.#gone = true;
    this.#host.after(0.01, () => {
      for (const listener of this.#exitListeners) listener(exit);
      this.#resolveExited();
    });
  }
}
