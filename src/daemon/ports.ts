// SPDX-License-Identifier: Apache-2.0
/**
 * What the pair's state machines need of the world: a clock, a QEMU with its
 * ring, a log, a console. The daemon gives them the real ones (adapters.ts), the
 * simulation (test/simulation/) its own, with time and faults under control.
 */
import type { Position } from '../base/position.ts';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic. */
  nowMs(): number;
  /** CLOCK_REALTIME. */
  realtimeNs(): bigint;
  after(ms: number, run: () => void): Timer;
  /** At the end of this turn of the event loop. */
  soon(run: () => void): void;
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** exitlog_state of the ABI. */
export type VmState = 'init' | 'recording' | 'replaying' | 'ended' | 'diverged' | 'failed';

export interface RingSnapshot {
  readonly state: VmState;
  /** 'poweroff' | 'stop' when state is 'ended'. */
  readonly endReason: string | null;
  readonly position: Position;
  /** Of QEMU's io thread. */
  readonly heartbeat: bigint;
  readonly visits: bigint;
  /** Packets since power-on, and those of them really sent. */
  readonly outputs: bigint;
  readonly outputsReleased: bigint;
  /** Records in IN not yet executed. */
  readonly inPending: number;
  /** CLOCK_MONOTONIC when QEMU went live, or 0. */
  readonly liveAtNs: bigint;
  /** What QEMU says went wrong, or null. */
  readonly error: string | null;
}

export interface SealHeader {
  readonly vmId: Buffer;
  readonly term: number;
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly sealedAtNs: bigint;
  readonly prevChecksum: bigint;
  readonly force?: boolean;
}

export interface LastSeal {
  readonly records: number;
  readonly outputs: number;
  readonly charOutBytes: number;
  readonly horizon: Position;
  readonly recordEnd: bigint;
  /** headerChecksum xor bodyChecksum: the next batch's prevChecksum. */
  readonly checksum: bigint;
}

export interface Ring {
  onNotify(run: () => void): void;
  /** Bytes written; 0: nothing new. */
  seal(into: Buffer, offset: number, header: SealHeader): number;
  lastSeal(): LastSeal;
  outPending(): number;
  commit(recordEnd: bigint): void;
  /** False: no room now, try again when notified. */
  fill(frame: Buffer, offset: number, length: number): boolean;
  /** Types at the console of a live VM; false: refused, too much waits already. */
  typeConsole(bytes: Uint8Array): boolean;
  powerdown(): boolean;
  goLive(): void;
  detach(): void;
  stop(): void;
  /** Null: no bound. */
  setIcountMax(icount: bigint | null): void;
  snapshot(): RingSnapshot;
}

export interface VmExit {
  /** ended: at its END; killed: by us; diverged: replay broke; hung: by the watchdog. */
  readonly reason: 'ended' | 'diverged' | 'killed' | 'hung' | 'failed';
  /** For people. */
  readonly message: string;
}

export interface Vm {
  readonly ring: Ring;
  readonly pid: number;
  onExit(run: (exit: VmExit) => void): void;
  /** After the `onExit` callbacks; never rejects. */
  readonly exited: Promise<void>;
  /** SIGKILL to this very process. */
  kill(): void;
  /** Frees the ring; after exit. */
  destroy(): void;
}

/** The append-only log of one side. */
export interface BatchLog {
  /** `done(null)` when write(2) returned (durable: fdatasync), in order. */
  append(frame: Buffer, done: (error: Error | null) => void): void;
  close(): Promise<void>;
}

export interface FrameFacts {
  readonly vmId: Buffer;
  readonly term: number;
  readonly sequence: bigint;
  readonly recordBase: bigint;
  readonly recordEnd: bigint;
  readonly prevChecksum: bigint;
  readonly checksum: bigint;
  readonly horizon: Position;
  readonly records: number;
  readonly charOutBytes: number;
}

/** The addon's reading of a batch frame. */
export interface BatchReader {
  /** @throws when a checksum or the layout is wrong, saying which */
  check(buffer: Buffer, offset: number, length: number): FrameFacts;
  charOut(buffer: Buffer, offset: number, length: number): Buffer;
}

/** One line of what happens, for people and for the daemon's log. */
export type Report = (event: string, details?: Readonly<Record<string, unknown>>) => void;
