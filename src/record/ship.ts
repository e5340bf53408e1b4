// SPDX-License-Identifier: Apache-2.0
/**
 * Step 4 of the data path: each sealed batch goes, as the same bytes, to the
 * backup and to our own segment file; both have to have it before the gate lets
 * its outputs leave.
 *
 * Without a backup (detached, or a backup that went live) only the file is
 * left; the log is then a convenience, and an error on it stops the log and not
 * the guest.
 */
import { messageOf } from '../base/errors.ts';
import type { BatchLog, BatchReader, Clock, Ring } from '../daemon/ports.ts';
import { OutputGate } from '../epochs/output-gate.ts';
import type { SealPolicy } from '../epochs/policy.ts';
import type { PeerSession } from '../wire/session.ts';
import { releaseTo } from './release.ts';
import { type Sealed, Sealer } from './seal.ts';

export interface ShipOptions {
  readonly ring: Ring;
  readonly clock: Clock;
  readonly policy: SealPolicy;
  readonly vmId: Buffer;
  readonly term: number;
  readonly sequence: bigint;
  readonly prevChecksum: bigint;
  readonly log: BatchLog;
  readonly reader: BatchReader;
  readonly console: (bytes: Buffer) => void;
  /** The log cannot be written; called once. */
  readonly logFailed: (reason: string) => void;
}

export class Shipper {
  readonly sealer: Sealer;
  readonly gate: OutputGate;
  readonly #o: ShipOptions;
  #session: PeerSession | null = null;
  #logError: string | null = null;

  constructor(options: ShipOptions) {
    this.#o = options;
    this.gate = new OutputGate(releaseTo(options.ring, options.console));
    this.sealer = new Sealer({ ...options, sealed: (sealed) => this.#ship(sealed) });
  }

  /** Why our own log is incomplete, or null. */
  get logError(): string | null {
    return this.#logError;
  }

  /** From now on batches go to this backup. */
  attach(session: PeerSession): void {
    this.#session = session;
    this.sealer.pump();
  }

  /** The backup has room again. */
  drained(): void {
    this.sealer.hold(false);
  }

  /** The backup is gone; outputs stay held until `detach` or for ever. */
  peerLost(): void {
    this.#session = null;
    this.sealer.hold(false);
  }

  /** The fence is won: outputs leave without acks. */
  detach(): void {
    this.gate.detach();
    this.sealer.pump();
  }

  /** True when the backup holds everything sealed so far. */
  get allAcked(): boolean {
    return this.gate.ackedSequence === this.sealer.sequence - 1n;
  }

  #ship(sealed: Sealed): void {
    const { epoch, frame, done } = sealed;
    if (sealed.charOutBytes > 0) {
      epoch.console = this.#o.reader.charOut(frame, 0, frame.length);
    }
    this.gate.add(epoch);
    if (this.#session === null) {
      done();
    } else {
      const room = this.#session.send(frame, done);
      // A lost session takes frames and drops them: those can never be acked.
      if (epoch.state === 'sealed') this.gate.sent(epoch);
      if (!room) this.sealer.hold(true);
    }
    if (this.#logError !== null) {
      done();
      return;
    }
    this.#o.log.append(frame, (error) => {
      done();
      if (error === null) this.gate.logged(epoch);
      else this.#failed(messageOf(error));
    });
  }

  #failed(reason: string): void {
    if (this.#logError !== null) return;
    this.#logError = reason;
    // Never logged and ignored: while a backup counts on us, nothing leaves any more.
    if (!this.gate.detached) this.gate.close(`the log cannot be written: ${reason}`);
    this.#o.logFailed(reason);
  }
}
