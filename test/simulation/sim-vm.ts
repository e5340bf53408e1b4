// SPDX-License-Identifier: Apache-2.0
/**
 * A simulated QEMU: executes, logs inputs and outputs, holds packets until they
 * are committed, replays a log up to its horizon, goes live at its end.
 */

import { sleep } from '../../src/base/clock.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { Batch } from '../../src/log/batch.ts';
import type { Origin, Start } from '../../src/log/entrance.ts';
import { KIND } from '../../src/log/kinds.ts';
import type {
  GivenState,
  Receiving,
  ReceivingOptions,
  Ring,
  RingSnapshot,
  Shipping,
  ShippingOptions,
  StateSource,
  Vm,
  VmExit,
} from '../../src/replica/ports.ts';
import { Holds } from '../../src/vm/holds.ts';
import type { Piece } from '../../src/wire/joining.ts';
import { type SimRecord, writeBatch } from './batch-writer.ts';
import {
  type LastSeal,
  type SealHeader,
  SimReceiving,
  type SimRing,
  SimShipping,
} from './sim-courier.ts';
import { pack, unpack } from './sim-state.ts';
import type { Host } from './world.ts';

/** Where a crash can be asked for: the eight steps of the data path. */
export interface Hooks {
  produced(): void;
  sealed(): void;
  filled(): void;
  executed(): void;
  beforeCommit(): void;
  afterCommit(): void;
  /** A packet really leaves. */
  left(ordinal: bigint, output: bigint): void;
  wentLive(): void;
}

interface Held {
  readonly ordinal: bigint;
  /** Its number among the packets since power-on. */
  readonly output: bigint;
}

interface LoggedRecord extends SimRecord {
  readonly ordinal: bigint;
}

const STEP_MS = 0.5;
const INSTRUCTIONS_PER_STEP = 50_000n;

export class SimVm implements Vm, Ring, SimRing {
  readonly ring: Ring = this;
  readonly holds = new Holds((bound) => {
    this.#icountMax = bound === null ? null : icountOf(bound);
  });
  readonly pid = 4242;
  readonly exited: Promise<void>;
  readonly #host: Host;
  readonly #hooks: Hooks;
  #resolveExited: () => void = () => {};
  #exitListeners: ((exit: VmExit) => void)[] = [];
  #notify: () => void = () => {};
  #state: RingSnapshot['state'];
  #gone = false;
  #icount = 0n;
  #icountMax: bigint | null = null;
  #visits = 0n;
  #heartbeat = 0n;
  /** Recording: produced, not sealed. */
  #out: LoggedRecord[] = [];
  #nextOrdinal = 0n;
  #sealedHorizon = -1n;
  #last: LastSeal | null = null;
  /** Packets waiting for a commit (recording), or for going live (replaying). */
  #held: Held[] = [];
  #outputs = 0n;
  #shipping: SimShipping | null = null;
  #committed = 0n;
  #released = 0n;
  #detached = false;
  #stopAsked = false;
  /** Replaying: the log, and how far it is complete. */
  #in: LoggedRecord[] = [];
  #inHorizon = 0n;
  #sentByPrimary = 0n;
  #golive = false;
  #ended = false;
  /** How many batches `fill` has room for; grows with execution. */
  #room = 8;

  constructor(
    host: Host,
    mode: 'record' | 'replay',
    hooks: Hooks,
    startMs: number,
    from: Origin | null = null,
  ) {
    this.#host = host;
    this.#hooks = hooks;
    this.#state = 'init';
    if (from !== null) {
      const state = unpack(from.chain);
      this.#icount = state.icount;
      this.#inHorizon = state.icount;
      this.#outputs = state.outputs;
      this.#released = state.released;
      this.#nextOrdinal = from.entrance.recordBase;
    }
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
  }

  /** Can this VM send packets by itself? */
  get live(): boolean {
    return !this.#gone && this.#state === 'recording' && this.#detached;
  }

  get running(): boolean {
    return !this.#gone;
  }

  /** Packets since power-on. */
  get outputs(): bigint {
    return this.#outputs;
  }

  get source(): StateSource {
    return { refusal: null, pieces: (_have, progress) => this.#pieces(progress) };
  }

  async *#pieces(
    progress: (percent: number, doing: string) => void,
  ): AsyncGenerator<Piece, GivenState, undefined> {
    const data = new Uint8Array(512);
    for (let block = 0; block < 4; block += 1) {
      await sleep(this.#host, this.#host.world.random.next() * 20);
      progress(block * 10, 'copying disks');
      yield { file: 'image/0', offset: 0n, data };
    }
    const shipping = this.#shipping;
    if (shipping === null || this.#gone) throw new Error('the VM ended');
    const { sequence, prevChecksum } = shipping.place();
    const state = { icount: this.#icount, outputs: this.#outputs, released: this.#released };
    const recordBase = this.#nextOrdinal;
    const entrance = { segment: 1, sequence, prevChecksum, recordBase, dataBase: 0n };
    const start: Start = { point: atIcount(this.#icount), entrance };
    progress(90, 'copying memory');
    yield { file: 'checkpoint/state', offset: 0n, data: pack(state) };
    await sleep(this.#host, this.#host.world.random.next() * 20);
    return { start, pauseMs: 0 };
  }

  onDisk(): void {}

  onExit(run: (exit: VmExit) => void): void {
    this.#exitListeners.push(run);
  }

  kill(): void {
    this.#exit({ reason: 'killed', message: 'killed' });
  }

  /** The guest switches itself off; as in QEMU, what it put out last may still be held. */
  powersOff(): void {
    this.#ended = true;
    this.#produce(KIND.END);
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
    const shipping = new SimShipping(this, this.#host, options);
    this.#notify = () => shipping.pump();
    this.#shipping = shipping;
    return shipping;
  }

  receive(options: ReceivingOptions): Receiving {
    const receiving = new SimReceiving(this, this.#host, options);
    this.#notify = () => receiving.pump();
    return receiving;
  }

  seal(header: SealHeader): Buffer | null {
    if (!this.#host.alive) return null;
    const records = this.#out.splice(0, 64);
    if (records.length === 0 && this.#icount === this.#sealedHorizon) return null;
    const horizon = this.#icount;
    const recordBase = records[0]?.ordinal ?? this.#nextOrdinal;
    const { frame, checksum } = writeBatch({
      vmId: header.vmId,
      term: header.term,
      sequence: header.sequence,
      recordBase,
      horizon,
      outputsReleased: this.#released,
      prevChecksum: header.prevChecksum,
      records,
    });
    this.#sealedHorizon = horizon;
    this.#last = {
      records: records.length,
      outputs: records.filter((record) => record.kind === KIND.NET_OUT).length,
      horizon: { point: atIcount(horizon), vtimeNs: horizon * 2n },
      recordEnd: recordBase + BigInt(records.length),
      checksum,
    };
    this.#hooks.sealed();
    return this.#host.alive ? frame : null;
  }

  lastSeal(): LastSeal {
    if (this.#last === null) throw new Error('nothing was sealed');
    return this.#last;
  }

  outPending(): number {
    return this.#out.length;
  }

  commit(recordEnd: bigint): void {
    this.#hooks.beforeCommit();
    if (!this.#host.alive || this.#gone) return;
    this.#committed = recordEnd;
    this.#send();
    this.#hooks.afterCommit();
  }

  fill(frame: Buffer): boolean {
    if (!this.#host.alive || this.#gone) return true;
    if (this.#room === 0) return false;
    this.#room -= 1;
    const batch = Batch.open(frame, 0, frame.length);
    for (const { point, kind, ordinal } of batch.records()) {
      this.#in.push({ icount: icountOf(point), kind, ordinal });
    }
    this.#inHorizon = icountOf(batch.header.horizon.point);
    this.#sentByPrimary = batch.header.outputsReleased;
    this.#hooks.filled();
    return true;
  }

  typeConsole(): boolean {
    return this.#state === 'recording';
  }

  powerdown(): boolean {
    this.#stopAsked = true;
    return true;
  }

  goLive(): void {
    this.#golive = true;
    this.#detached = true;
  }

  detach(): void {
    this.#detached = true;
    this.#send();
  }

  undetach(): void {
    this.#detached = false;
  }

  stop(): void {
    this.#stopAsked = true;
  }

  snapshot(): RingSnapshot {
    return {
      state: this.#state,
      endReason: this.#ended ? 'stop' : null,
      position: { point: atIcount(this.#icount), vtimeNs: this.#icount * 2n },
      heartbeat: this.#heartbeat,
      visits: this.#visits,
      outputs: 0n,
      outputsReleased: this.#released,
      inPending: this.#in.length,
      liveAtNs: 0n,
      clockBehindNs: 0n,
      error: null,
    };
  }

  #step(): void {
    if (this.#gone || !this.#host.alive) return;
    this.#heartbeat += 1n;
    if (this.#state === 'recording') this.#record();
    else if (this.#state === 'replaying') this.#replay();
    if (this.#gone || !this.#host.alive) return;
    this.#host.after(STEP_MS, () => this.#step());
  }

  #record(): void {
    const capped = this.#icountMax !== null && this.#icount >= this.#icountMax;
    if (!capped) {
      this.#visits += 1n;
      this.#icount += INSTRUCTIONS_PER_STEP;
      const { random } = this.#host.world;
      if (random.chance(0.3)) this.#produce(random.chance(0.5) ? KIND.NET_OUT : KIND.BLK_DONE);
    }
    if (this.#stopAsked && !this.#ended) {
      this.#ended = true;
      this.#produce(KIND.END);
    }
    this.#notify();
    if (this.#ended && this.#out.length === 0 && this.#committedAll()) {
      this.#state = 'ended';
      this.#exit({ reason: 'ended', message: 'the VM was stopped' });
    }
  }

  #committedAll(): boolean {
    return this.#held.length === 0;
  }

  #produce(kind: number): void {
    const ordinal = this.#nextOrdinal++;
    this.#out.push({ icount: this.#icount, kind, ordinal });
    if (kind === KIND.NET_OUT) this.#hold(ordinal);
    this.#send();
    this.#hooks.produced();
  }

  #hold(ordinal: bigint): void {
    this.#held.push({ ordinal, output: this.#outputs });
    this.#outputs += 1n;
  }

  #send(): void {
    if (this.#gone || this.#state !== 'recording') return;
    while (this.#held.length > 0) {
      const first = this.#held[0];
      if (first === undefined || (!this.#detached && first.ordinal >= this.#committed)) return;
      this.#held.shift();
      this.#released += 1n;
      this.#hooks.left(first.ordinal, first.output);
    }
  }

  #replay(): void {
    this.#visits += 1n;
    // A little faster than it is recorded.
    const to = this.#icount + INSTRUCTIONS_PER_STEP * 2n;
    this.#icount = to < this.#inHorizon ? to : this.#inHorizon;
    while (this.#in.length > 0 && (this.#in[0]?.icount ?? 0n) <= this.#icount) {
      const record = this.#in.shift();
      if (record === undefined) break;
      this.#nextOrdinal = record.ordinal + 1n;
      if (record.kind === KIND.NET_OUT) this.#hold(record.ordinal);
      if (record.kind === KIND.END) {
        this.#state = 'ended';
        this.#exit({ reason: 'ended', message: 'the VM was stopped' });
        return;
      }
      this.#hooks.executed();
      if (!this.#host.alive) return;
    }
    // Those that the primary has sent need not be kept.
    this.#released = this.#sentByPrimary;
    this.#room = 8;
    this.#notify();
    if (this.#golive && this.#in.length === 0 && this.#icount === this.#inHorizon) {
      this.#state = 'recording';
      this.#sealedHorizon = this.#icount;
      this.#hooks.wentLive();
      this.#send();
      this.#nextOrdinal = 0n; // its own log
    }
  }

  #exit(exit: VmExit): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#host.after(0.01, () => {
      for (const listener of this.#exitListeners) listener(exit);
      this.#resolveExited();
    });
  }
}
