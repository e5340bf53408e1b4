// SPDX-License-Identifier: Apache-2.0
/**
 * The courier (addon/courier.h), simulated: the same steps on the simulation's ring,
 * link and log, with the output gate as a model of its own.
 */

import type { Timer } from '../../src/base/clock.ts';
import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import { distance, POWER_ON, type Position } from '../../src/base/position.ts';
import type { BatchHeader } from '../../src/log/batch.ts';
import type { LogEntrance } from '../../src/log/entrance.ts';
import { FRAME } from '../../src/log/frame.ts';
import type {
  ReceiveFacts,
  Receiving,
  ReceivingOptions,
  RingSnapshot,
  ShipFacts,
  Shipping,
  ShippingOptions,
} from '../../src/replica/ports.ts';
import { decodeAck, encodeAck } from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';
import type { PeerSession } from '../../src/wire/session.ts';
import { Epoch } from './epoch.ts';
import { OutputGate } from './output-gate.ts';
import { checkBatch, type Host, type SimLink, SimLog } from './world.ts';

export interface SealHeader {
  readonly vmId: Buffer;
  readonly term: number;
  readonly sequence: bigint;
  readonly prevChecksum: bigint;
}

export interface LastSeal {
  readonly records: number;
  readonly outputs: number;
  readonly horizon: Position;
  readonly recordEnd: bigint;
  readonly checksum: bigint;
}

/** The simulated ring. */
export interface SimRing {
  seal(header: SealHeader): Buffer | null;
  lastSeal(): LastSeal;
  outPending(): number;
  commit(recordEnd: bigint): void;
  fill(frame: Buffer): boolean;
  snapshot(): RingSnapshot;
}

function simLog(log: unknown): SimLog | null {
  return log instanceof SimLog ? log : null;
}

function wrong(what: string): UnderstudyError {
  return new UnderstudyError('peer-protocol', what);
}

export class SimShipping implements Shipping {
  logError: string | null = null;
  readonly #ring: SimRing;
  readonly #host: Host;
  readonly #o: ShippingOptions;
  readonly #gate: OutputGate;
  /** What was sealed, by sequence: the segment files. */
  readonly #frames: Buffer[] = [];
  #term: number;
  #session: PeerSession | null = null;
  #timer: Timer | null = null;
  #stopped = false;
  #sequence = 0n;
  #prevChecksum = 0n;
  #sealedAtMs = 0;
  #sealedAt = POWER_ON.point;
  #oldestMs: number | null = null;
  #bytes = 0;
  #executed: Position = POWER_ON;

  constructor(ring: SimRing, host: Host, options: ShippingOptions) {
    this.#ring = ring;
    this.#host = host;
    this.#o = options;
    this.#term = options.term;
    this.#gate = new OutputGate({ commit: (recordEnd) => ring.commit(recordEnd) });
  }

  get closedReason(): string | null {
    return this.#gate.closedReason;
  }

  get detached(): boolean {
    return this.#gate.detached;
  }

  attach(session: PeerSession, from?: LogEntrance): void {
    this.#session = session;
    (session.link as SimLink).carry((frame) => this.#frame(frame));
    if (from !== undefined) {
      this.#executed = POWER_ON;
      this.#gate.startAt(from.sequence);
      for (const frame of this.#frames.slice(Number(from.sequence))) session.send(frame);
      this.#gate.sentUpTo(this.#sequence - 1n);
    }
    this.pump();
  }

  detach(term: number): void {
    this.#term = term;
    this.#gate.detach();
  }

  protect(): void {
    this.#gate.protect();
  }

  /** Everything is sealed up to here; the next batch is the first after a state. */
  place(): { sequence: bigint; prevChecksum: bigint } {
    void this.flush();
    return { sequence: this.#sequence, prevChecksum: this.#prevChecksum };
  }

  close(reason: string): void {
    this.#gate.close(reason);
  }

  reopen(): void {
    this.#gate.reopen();
  }

  flush(): Promise<void> {
    while (!this.#stopped && this.#seal()) {
      // until the ring is empty and its horizon sealed
    }
    return Promise.resolve();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  facts(): ShipFacts {
    return {
      sequence: this.#sequence,
      ackedSequence: this.#gate.ackedSequence,
      held: this.#gate.held,
      bytes: this.#bytes,
      allAcked: this.#gate.ackedSequence === this.#sequence - 1n,
      executed: this.#executed,
      backupPending: 0n,
      nextSend: this.#sequence,
      catchingUp: false,
    };
  }

  pump(): void {
    this.#timer?.cancel();
    this.#timer = null;
    while (!this.#stopped) {
      const waitMs = this.#dueInMs();
      if (waitMs > 0) {
        this.#timer = this.#host.after(waitMs, () => this.pump());
        return;
      }
      if (!this.#seal()) return;
    }
  }

  #dueInMs(): number {
    const { batchUs, horizonBusyUs, horizonIdleUs, busyInstructions } = this.#o.seal;
    const now = this.#host.nowMs();
    if (this.#ring.outPending() > 0) {
      this.#oldestMs ??= now;
      // Half of them as an output would have it, half as an input.
      return this.#host.world.random.chance(0.5) ? 0 : this.#oldestMs + batchUs / 1000 - now;
    }
    const since = Number(distance(this.#sealedAt, this.#ring.snapshot().position.point));
    const spacingUs = since >= busyInstructions ? horizonBusyUs : horizonIdleUs;
    return this.#sealedAtMs + spacingUs / 1000 - now;
  }

  #seal(): boolean {
    const frame = this.#ring.seal({
      vmId: this.#o.vmId,
      term: this.#term,
      sequence: this.#sequence,
      prevChecksum: this.#prevChecksum,
    });
    this.#sealedAtMs = this.#host.nowMs();
    this.#oldestMs = null;
    if (frame === null) return false;
    const last = this.#ring.lastSeal();
    const epoch = new Epoch(this.#sequence);
    epoch.seal({ sequence: this.#sequence, ...last, bytes: frame.length });
    this.#sequence += 1n;
    this.#prevChecksum = last.checksum;
    this.#sealedAt = last.horizon.point;
    this.#bytes += frame.length;
    this.#frames.push(frame);
    this.#ship(epoch, frame);
    return true;
  }

  #ship(epoch: Epoch, frame: Buffer): void {
    this.#gate.add(epoch);
    if (this.#session !== null && !this.#session.over) {
      this.#session.send(frame);
      if (epoch.state === 'sealed') this.#gate.sent(epoch);
      this.#gate.sentUpTo(epoch.batch.sequence);
    }
    if (this.logError !== null) return;
    simLog(this.#o.log)?.append(frame, (error) => {
      if (error === null) this.#gate.logged(epoch);
      else this.#failed(error.message);
    });
  }

  #failed(reason: string): void {
    if (this.logError !== null) return;
    this.logError = reason;
    if (!this.#gate.detached) this.#gate.close(`the log cannot be written: ${reason}`);
    this.#o.logFailed(reason);
  }

  #frame(frame: Frame): boolean {
    if (frame.type !== FRAME.ACK) return false;
    const ack = decodeAck(frame);
    if (ack.ready) return true;
    if (ack.term !== this.#term) {
      throw wrong(`the backup acknowledged in term ${ack.term}, this is term ${this.#term}`);
    }
    this.#gate.ack(ack.sequence, ack.recordEnd);
    this.#executed = ack.executed;
    // The real one tells it from its own thread: the session may be over by then.
    const { random } = this.#host.world;
    this.#host.after(random.chance(0.5) ? 0 : random.int(1, 20), () => this.#o.progress());
    return true;
  }
}

export class SimReceiving implements Receiving {
  readonly #ring: SimRing;
  readonly #host: Host;
  readonly #o: ReceivingOptions;
  readonly #queue: Buffer[] = [];
  #last: BatchHeader | null = null;
  #stored: BatchHeader | null = null;
  #ackDue = false;
  #failed = false;
  #closed = false;
  #bytes = 0;

  constructor(ring: SimRing, host: Host, options: ReceivingOptions) {
    this.#ring = ring;
    this.#host = host;
    this.#o = options;
    (options.session.link as SimLink).carry((frame) => this.#frame(frame));
  }

  close(): void {
    this.#closed = true;
  }

  facts(): ReceiveFacts {
    this.pump();
    return {
      lastSequence: this.#last?.sequence ?? null,
      storedSequence: this.#stored?.sequence ?? null,
      bytes: this.#bytes,
      empty: this.#queue.length === 0,
      pressed: false,
    };
  }

  pump(): void {
    while (this.#queue[0] !== undefined && this.#ring.fill(this.#queue[0])) this.#queue.shift();
  }

  #frame(frame: Frame): boolean {
    if (frame.type !== FRAME.BATCH) return false;
    if (this.#closed) return true;
    const header = this.#verify(frame);
    if (this.#last === null) this.#o.first();
    this.#last = header;
    this.#bytes += frame.length;
    const bytes = frame.buffer.subarray(frame.offset, frame.offset + frame.length);
    this.#queue.push(bytes);
    this.pump();
    if (this.#failed) return true;
    simLog(this.#o.log)?.append(bytes, (error) => {
      if (error === null) this.#storedUpTo(header);
      else if (!this.#failed) {
        this.#failed = true;
        this.#o.storeFailed(error.message);
      }
    });
    return true;
  }

  #verify(frame: Frame): BatchHeader {
    let header: BatchHeader;
    try {
      header = checkBatch(frame.buffer, frame.offset, frame.length);
    } catch (cause) {
      if (!(cause instanceof CorruptLogError)) throw cause;
      throw wrong(`the primary sent a damaged batch: ${cause.reason}`);
    }
    const last = this.#last;
    const { start } = this.#o;
    const due = last === null ? (start?.sequence ?? 0n) : last.sequence + 1n;
    const follows =
      header.sequence === due &&
      header.term === this.#o.term &&
      header.vmId === this.#o.vmId.toString('hex') &&
      header.prevChecksum === (last?.checksum ?? start?.prevChecksum ?? 0n) &&
      header.recordBase === (last?.recordEnd ?? start?.recordBase ?? 0n);
    if (!follows) throw wrong(`the primary sent batch ${header.sequence}: it does not follow`);
    return header;
  }

  #storedUpTo(header: BatchHeader): void {
    if (this.#failed) return;
    this.#stored = header;
    if (this.#ackDue) return;
    this.#ackDue = true;
    this.#host.after(0.001, () => {
      this.#ackDue = false;
      if (this.#closed || this.#failed) return;
      this.#ack(this.#stored ?? header);
    });
  }

  #ack(header: BatchHeader): void {
    const at = this.#ring.snapshot();
    this.#o.session.send(
      encodeAck({
        sequence: header.sequence,
        recordEnd: header.recordEnd,
        executed: at.position,
        sentAtNs: this.#host.realtimeNs(),
        term: this.#o.term,
        durable: false,
        ready: false,
        batchChecksum: header.checksum,
        inPending: BigInt(at.inPending),
      }),
    );
  }
}
