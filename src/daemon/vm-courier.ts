// SPDX-License-Identifier: Apache-2.0
/** The addon's courier behind the ports Shipping and Receiving, for one VM. */
import {
  Courier,
  type CourierEvents,
  type EpochNumbers,
  type ExitRing,
  type Image,
  type Limits,
  type ShipOptions,
} from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import type { CutNumbers } from '../epochs/protocol.ts';
import type { LogEntrance } from '../log/entrance.ts';
import { LogFile, logError } from '../log/log-file.ts';
import type {
  BatchLog,
  ReceiveFacts,
  Receiving,
  ReceivingOptions,
  ShipFacts,
  Shipping,
  ShippingOptions,
  Stuck,
} from '../replica/ports.ts';
import { lastWords } from '../replica/sickness.ts';
import { DIGEST_AT_CUTS } from '../vm/digest-every.ts';
import { Connection } from '../wire/connection.ts';
import { encodeGoodbye } from '../wire/messages.ts';
import { type PeerSession, STALL_MS_MAX } from '../wire/session.ts';

/** Longer than what is under way on a disk that is well. */
const CLOSE_MS_MAX = 10_000;

/** The lag bound is made anew so often while acks arrive. */
const PROGRESS_US = 10_000;

const NO_EPOCHS: EpochNumbers = { everyNs: 0n, packetNs: 0n, inFlight: 0, digests: false };

export interface CourierWatch {
  readonly limits: Limits;
  /** QEMU broke a rule of the ring: nothing of it is believed any more. */
  readonly broken: (why: string) => void;
}

export class VmCourier {
  readonly #ring: ExitRing;
  readonly #image: Image | null;
  readonly #digestEvery: number;
  readonly #watch: CourierWatch;
  #courier: Courier | null = null;
  #shipping: HostShipping | null = null;
  #receiving: ReceivingOptions | null = null;

  /**
   * @param image what is received goes there; null: to the VM of the ring
   * @param digestEvery instructions between two digests of epochs; 0: none
   */
  constructor(ring: ExitRing, image: Image | null, digestEvery: number, watch: CourierWatch) {
    this.#watch = watch;
    this.#ring = ring;
    this.#image = image;
    this.#digestEvery = digestEvery;
  }

  ship(options: ShippingOptions): Shipping {
    const courier = this.#start();
    const continues = options.log === this.#receiving?.log;
    courier.ship({
      ...shipNumbers(options),
      log: continues ? 'received' : startOf(options.log),
    });
    this.#shipping = new HostShipping(
      courier,
      options,
      (session, from) => this.#attach(session, from),
      (cut) => this.#cutEpochs(cut),
    );
    return this.#shipping;
  }

  receive(options: ReceivingOptions): Receiving {
    const courier = this.#start();
    const { vmId, term, durability, log, start } = options;
    this.#receiving = options;
    const from = start === undefined ? {} : { start };
    const image = this.#image === null ? {} : { image: this.#image };
    // Who proves every cut proves what it goes on from: the hash of all memory takes its time.
    if (this.#image !== null && this.#digestEvery === DIGEST_AT_CUTS) {
      this.#ring.setEpochs({ ...NO_EPOCHS, digests: this.#digestEvery });
    }
    courier.receive({
      vmId,
      term,
      durable: durability === 'disk',
      log: startOf(log),
      ...from,
      ...image,
    });
    this.#attach(options.session);
    return {
      close: () => courier.closeReceive(),
      handOver: () => {
        assert(this.#image !== null, 'there is an image');
        courier.handOver(this.#image.restFd);
      },
      facts: (): ReceiveFacts => courier.receiveFacts(),
    };
  }

  /** Ships; null: not yet. */
  get ships(): Courier | null {
    return this.#shipping === null ? null : this.#courier;
  }

  /** A disk that hangs keeps its courier: it is left to that after a while. */
  async close(): Promise<void> {
    if (this.#courier === null) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS_MAX);
    });
    await Promise.race([this.#courier.close(), patience]);
    clearTimeout(timer);
    this.#courier.destroy();
  }

  #start(): Courier {
    if (this.#courier === null) {
      this.#courier = new Courier(this.#ring, this.#events(), PROGRESS_US);
      this.#courier.watch(this.#watch.limits);
    }
    return this.#courier;
  }

  #attach({ link }: PeerSession, from?: LogEntrance): void {
    assert(link instanceof Connection && this.#courier !== null, 'a real peer, a real courier');
    link.handOver(this.#courier, from);
    const term = this.#shipping?.options.term ?? this.#receiving?.term ?? 0;
    const words = (what: Exclude<Stuck, 'acks'>, ms: number): Buffer =>
      encodeGoodbye({ ...lastWords(what, ms), lastSequence: 0n, term });
    const { diskMs, courierMs } = this.#watch.limits;
    this.#courier.lastWords(
      words('disk', diskMs),
      words('courier', courierMs),
      words('control', STALL_MS_MAX),
    );
  }

  #cutEpochs(cut: CutNumbers | null): void {
    this.#ring.setEpochs(cut === null ? NO_EPOCHS : this.#epochNumbers(cut));
  }

  #epochNumbers(cut: CutNumbers): EpochNumbers {
    const { everyMs, outputWaitUs, inFlightMax, events, pagesMax, disk } = cut;
    return {
      everyNs: BigInt(Math.round(everyMs * 1e6)),
      packetNs: BigInt(outputWaitUs) * 1000n,
      inFlight: inFlightMax,
      events,
      pagesMax,

      ioLog: disk === 'io-log',
      digests: this.#digestEvery,
    };
  }

  #events(): CourierEvents {
    return {
      console: (bytes) => (this.#shipping?.options ?? this.#receiving)?.console(bytes),
      guard: (bytes) => (this.#shipping?.options ?? this.#receiving)?.guard(bytes),
      first: () => this.#receiving?.first(),
      logEnded: () => this.#receiving?.ended(),
      diverged: (message) => this.#receiving?.diverged(message),
      logFailed: (errno, path) => {
        const reason = logError(errno, path).message;
        if (this.#shipping !== null) this.#shipping.failed(reason);
        else this.#receiving?.storeFailed(reason);
      },
      stuck: (what, message) => {
        if (this.#shipping !== null) this.#shipping.options.stuck(what, message);
        else this.#receiving?.stuck(what, message);
      },
      progress: () => this.#shipping?.options.progress(),
      broken: (message) => this.#watch.broken(message),
    };
  }
}

/** What a courier goes by that ships. */
export function shipNumbers(o: ShippingOptions): Omit<ShipOptions, 'log'> {
  const { vmId, term, seal, commit, durability } = o;
  return { vmId, term, acksNeeded: commit, durable: durability === 'disk', seal };
}

/** What shipping asks of a courier. */
export type ShippingCourier = Pick<
  Courier,
  'detach' | 'protect' | 'closeGate' | 'reopenGate' | 'flush' | 'stop' | 'shipFacts'
>;

export class HostShipping implements Shipping {
  readonly options: ShippingOptions;
  readonly #courier: ShippingCourier;
  readonly #attach: (session: PeerSession, from?: LogEntrance) => void;
  readonly #cutEpochs: (cut: CutNumbers | null) => void;
  #cuts = false;
  #closed: string | null = null;
  #detached = false;
  logError: string | null = null;

  constructor(
    courier: ShippingCourier,
    options: ShippingOptions,
    attach: (session: PeerSession, from?: LogEntrance) => void,
    cutEpochs: (cut: CutNumbers | null) => void = () => {},
  ) {
    this.#courier = courier;
    this.options = options;
    this.#attach = attach;
    this.#cutEpochs = cutEpochs;
  }

  get closedReason(): string | null {
    if (this.#closed !== null) return this.#closed;
    if (this.logError === null || this.#detached) return null;
    return `the log cannot be written: ${this.logError}`;
  }

  get detached(): boolean {
    return this.#detached;
  }

  attach(session: PeerSession, from?: LogEntrance): void {
    this.#attach(session, from);
    this.#cut(this.options.cut);
  }

  detach(term: number): void {
    this.#detached = true;
    this.#cut(null);
    this.#courier.detach(term);
  }

  protect(): void {
    this.#detached = false;
    this.#courier.protect();
  }

  cutEvery(everyMs: number): void {
    const { cut } = this.options;
    // Told of late, an ack of a backup that is gone must not begin it again.
    if (cut !== null && this.#cuts) this.#cut({ ...cut, everyMs });
  }

  close(reason: string): void {
    this.#closed ??= reason;
    this.#courier.closeGate();
  }

  reopen(): void {
    this.#closed = null;
    this.#courier.reopenGate();
  }

  flush(): Promise<void> {
    return this.#courier.flush();
  }

  stop(): void {
    this.#courier.stop();
  }

  facts(): ShipFacts {
    return this.#courier.shipFacts();
  }

  #cut(cut: CutNumbers | null): void {
    if (this.options.cut === null) return;
    this.#cuts = cut !== null;
    this.#cutEpochs(cut);
  }

  /** While a backup counts on us, nothing leaves any more: the courier sees to that. */
  failed(reason: string): void {
    this.logError = reason;
    this.options.logFailed(reason);
  }
}

function startOf(log: BatchLog) {
  assert(log instanceof LogFile, 'a real log');
  return log.start;
}
