// SPDX-License-Identifier: Apache-2.0
/** A follower that executes: a VM in replay for one primary, with its log. */

import { type Clock, sleep } from '../../base/clock.ts';
import { UnderstudyError } from '../../base/errors.ts';
import type { Origin } from '../../log/entrance.ts';
import { encodeAck, type Welcome } from '../../wire/messages.ts';
import type { PeerSession } from '../../wire/session.ts';
import { type Outcome, outcomeOfReplay } from '../outcome.ts';
import type { BatchLog, Receiving, Vm } from '../ports.ts';

export interface ReplayingOptions {
  readonly clock: Clock;
  /** @param from null: power-on */
  readonly launch: (welcome: Welcome, from: Origin | null) => Promise<Vm>;
  /**
   * @param firstSequence of its first batch
   * @throws UnderstudyError disk-full, log-write
   */
  readonly openLog: (welcome: Welcome, firstSequence: bigint) => BatchLog;
  readonly console: (bytes: Buffer) => void;
}

export interface ReplayingEvents {
  /** The first batch came: the replay has begun. */
  first(): void;
  storeFailed(reason: string): void;
  exited(outcome: Outcome): void;
}

const READY_POLL_MS = 5;
const READY_TIMEOUT_MS = 30_000;

export class Replaying {
  readonly vm: Vm;
  readonly log: BatchLog;
  readonly receiving: Receiving;
  readonly #term: number;
  readonly #clock: Clock;

  private constructor(
    o: ReplayingOptions,
    vm: Vm,
    log: BatchLog,
    receiving: Receiving,
    term: number,
  ) {
    this.#clock = o.clock;
    this.#term = term;
    this.vm = vm;
    this.log = log;
    this.receiving = receiving;
  }

  /**
   * Starts QEMU in replay, with its log and everything between it and the primary.
   * @throws UnderstudyError what launching throws; nothing is left then
   */
  static async start(
    o: ReplayingOptions,
    { welcome, session }: { readonly welcome: Welcome; readonly session: PeerSession },
    from: Origin | null,
    events: ReplayingEvents,
  ): Promise<Replaying> {
    const log = o.openLog(welcome, from?.entrance.sequence ?? 0n);
    let vm: Vm;
    try {
      vm = await o.launch(welcome, from);
    } catch (error) {
      log.close();
      throw error;
    }
    const { vmId, term, durability } = welcome;
    const receiving = vm.receive({
      session,
      vmId,
      term,
      durability: durability === 'disk' ? 'disk' : 'memory',
      log,
      ...(from === null ? {} : { start: from.entrance }),
      first: () => events.first(),
      console: o.console,
      storeFailed: (reason) => events.storeFailed(reason),
    });
    vm.onExit((exit) => events.exited(outcomeOfReplay(exit)));
    return new Replaying(o, vm, log, receiving, term);
  }

  /**
   * Waits until QEMU is ready for the log.
   * @returns false when `cancelled` came first
   * @throws UnderstudyError qemu-hung
   */
  async untilReady(cancelled: () => boolean): Promise<boolean> {
    const clock = this.#clock;
    const deadlineMs = clock.nowMs() + READY_TIMEOUT_MS;
    while (this.vm.ring.snapshot().state !== 'replaying') {
      if (cancelled()) return false;
      if (clock.nowMs() > deadlineMs) {
        throw new UnderstudyError('qemu-hung', `QEMU did not start in ${READY_TIMEOUT_MS} ms`);
      }
      await sleep(clock, READY_POLL_MS);
    }
    return !cancelled();
  }

  /** Says that QEMU waits for the log; acks of batches are the courier's. */
  readyFrame(durable: boolean): Buffer {
    const at = this.vm.ring.snapshot();
    return encodeAck({
      sequence: 0n,
      recordEnd: 0n,
      executed: at.position,
      sentAtNs: this.#clock.realtimeNs(),
      term: this.#term,
      durable,
      ready: true,
      batchChecksum: 0n,
      inPending: BigInt(at.inPending),
    });
  }
}
