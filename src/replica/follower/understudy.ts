// SPDX-License-Identifier: Apache-2.0
/**
 * The seam between a stand-by and what it keeps ready to take over. Which kind that is the
 * protocol says (kinds.ts).
 */
import type { Clock } from '../../base/clock.ts';
import type { Origin } from '../../log/entrance.ts';
import type { Unprotected } from '../../vm/config.ts';
import type { Welcome } from '../../wire/messages.ts';
import type { PeerSession } from '../../wire/session.ts';
import type { Outcome } from '../outcome.ts';
import type { BatchLog, Receiving, Stuck, Vm } from '../ports.ts';

export interface UnderstudyOptions {
  readonly clock: Clock;
  readonly unprotected: Unprotected;
  /** @param from null: power-on */
  readonly launch: (welcome: Welcome, from: Origin | null) => Promise<Vm>;
  /**
   * @param firstSequence of its first batch
   * @throws UnderstudyError disk-full, log-write
   */
  readonly openLog: (welcome: Welcome, firstSequence: bigint) => BatchLog;
  readonly console: (bytes: Buffer) => void;
  readonly guard: (bytes: Buffer) => void;
}

export interface UnderstudyEvents {
  /** The first batch came. */
  first(): void;
  storeFailed(reason: string): void;
  stuck(what: Stuck, message: string): void;
  exited(outcome: Outcome): void;
}

/**
 * Starts it, with its log and everything between it and the primary.
 * @throws UnderstudyError what launching throws; nothing is left then
 */
export type StartUnderstudy = (
  o: UnderstudyOptions,
  met: { readonly welcome: Welcome; readonly session: PeerSession },
  from: Origin | null,
  events: UnderstudyEvents,
) => Promise<Understudy>;

export interface Understudy {
  readonly vm: Vm;
  readonly log: BatchLog;
  readonly receiving: Receiving;
  /**
   * Waits until it is ready for the log.
   * @returns false when `cancelled` came first
   * @throws UnderstudyError qemu-hung
   */
  untilReady(cancelled: () => boolean): Promise<boolean>;
  /** Says that it waits for the log; acks of batches are the courier's. */
  readyFrame(durable: boolean): Buffer;
  /**
   * The fence is won: its VM goes live with everything that was received.
   * @returns when it had all of that, and when it was live; null: `cancelled` came first
   */
  goLive(
    progress: (text: string) => void,
    cancelled: () => boolean,
  ): Promise<{ readonly drainedMs: number; readonly liveMs: number } | null>;
}
