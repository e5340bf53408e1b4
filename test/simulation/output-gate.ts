// SPDX-License-Identifier: Apache-2.0
/**
 * The output gate of addon/ship/gate.h, for the simulation.
 *
 * The guarantee: **no output of the guest, packet or console byte, leaves
 * before the ack that covers it and before our own log has it.** An output
 * belongs to the epoch whose batch carries its record; it is released when that
 * epoch and all before it are acked by the backup and written to the local
 * segment.
 *
 * What ends the guarantee: `detach()` alone, called after the fence is won by a
 * side that has no peer. What stops release for good: `close(reason)`; the guest
 * then stalls on its held outputs, and nothing is lost or corrupted.
 *
 * Mechanism: QEMU holds every packet until `commit` passes its record's ordinal.
 */
import { assert } from '../../src/base/assert.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import type { Epoch } from './epoch.ts';

export interface GateEffects {
  /** Packets whose record is before this ordinal may leave. */
  commit(recordEnd: bigint): void;
}

export class OutputGate {
  readonly #effects: GateEffects;
  /** Sealed epochs whose outputs have not left, oldest first. */
  readonly #held: Epoch[] = [];
  #closedReason: string | null = null;
  #detached = false;
  #ackedSequence = -1n;
  #sentSequence = -1n;
  #committed = 0n;

  constructor(effects: GateEffects) {
    this.#effects = effects;
  }

  /** Why outputs are stopped for good, or null. */
  get closedReason(): string | null {
    return this.#closedReason;
  }

  get detached(): boolean {
    return this.#detached;
  }

  /** Epochs sealed and not released. */
  get held(): number {
    return this.#held.length;
  }

  get ackedSequence(): bigint {
    return this.#ackedSequence;
  }

  /** A sealed epoch enters; epochs enter in order. */
  add(epoch: Epoch): void {
    const last = this.#held.at(-1);
    assert(
      last === undefined || last.batch.sequence < epoch.batch.sequence,
      'epochs enter the gate in order',
    );
    this.#held.push(epoch);
    this.#release();
  }

  /** The epoch's batch was handed to the connection. */
  sent(epoch: Epoch): void {
    epoch.send();
    this.#sentSequence = epoch.batch.sequence;
  }

  /** The epoch's batch is in the local segment. */
  logged(epoch: Epoch): void {
    epoch.logged = true;
    this.#release();
  }

  /**
   * The backup holds the log up to and including `sequence`.
   * @throws UnderstudyError peer-protocol for an ack of something never sent, or
   *   one that disagrees with what was sent
   */
  ack(sequence: bigint, recordEnd: bigint): void {
    if (sequence > this.#sentSequence) {
      throw new UnderstudyError(
        'peer-protocol',
        `the backup acknowledged batch ${sequence}, which was never sent ` +
          `(the last one sent is ${this.#sentSequence})`,
      );
    }
    // Positions travel in acks, so one that acknowledges nothing new is normal.
    if (sequence <= this.#ackedSequence) return;
    const target = this.#held.find((epoch) => epoch.batch.sequence === sequence);
    const oldest = this.#held[0]?.batch.sequence;
    if (target === undefined && (oldest === undefined || sequence < oldest)) {
      this.#ackedSequence = sequence; // its outputs left while nobody's ack was needed
      return;
    }
    if (target === undefined || target.batch.recordEnd !== recordEnd) {
      const expected = target === undefined ? 'nothing' : String(target.batch.recordEnd);
      throw new UnderstudyError(
        'peer-protocol',
        `the backup acknowledged batch ${sequence} as ending at record ${recordEnd}, ` +
          `it ends at ${expected}`,
      );
    }
    for (const epoch of this.#held) {
      if (epoch.batch.sequence > sequence) break;
      if (epoch.state === 'sent') epoch.ack();
    }
    this.#ackedSequence = sequence;
    this.#release();
  }

  /** Nothing leaves any more, whatever is acked. The first reason stays. */
  close(reason: string): void {
    this.#closedReason ??= reason;
  }

  /**
   * Undoes a close that was for a hand-over which did not happen.
   * Never call it after a failed write: an operator has to decide then.
   */
  reopen(): void {
    this.#closedReason = null;
    this.#release();
  }

  /** This side won the fence and has no peer: outputs need no ack any more. */
  detach(): void {
    this.#detached = true;
    this.#release();
  }

  /** A new backup gets batches from this one on. */
  startAt(sequence: bigint): void {
    this.#ackedSequence = sequence - 1n;
    this.#sentSequence = sequence - 1n;
  }

  /** Batches that are no epochs any more were sent up to this one. */
  sentUpTo(sequence: bigint): void {
    this.#sentSequence = sequence;
  }

  /** Outputs need acks again; nothing is held at that moment. */
  protect(): void {
    this.#detached = false;
  }

  #release(): void {
    if (this.#closedReason !== null) return;
    let end: bigint | null = null;
    let count = 0;
    for (const epoch of this.#held) {
      if (!this.#detached && !(epoch.state === 'acked' && epoch.logged)) break;
      count += 1;
      end = epoch.batch.recordEnd;
    }
    if (end === null) return;
    // Removed before the effects run: an effect that re-enters sees a consistent gate.
    const leaving = this.#held.splice(0, count);
    for (const epoch of leaving) epoch.release(this.#detached);
    if (end > this.#committed) {
      this.#committed = end;
      this.#effects.commit(end);
    }
  }
}
