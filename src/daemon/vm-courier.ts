// SPDX-License-Identifier: Apache-2.0
/** The addon's courier behind the ports Shipping and Receiving, for one VM. */
import {
  Courier,
  type CourierEvents,
  type EpochNumbers,
  type ExitRing,
  type Image,
  type ShipOptions,
} from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import type { Protocol } from '../epochs/protocol.ts';
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
} from '../replica/ports.ts';
import { DIGEST_AT_CUTS } from '../vm/digest-every.ts';
import { Connection } from '../wire/connection.ts';
import type { PeerSession } from '../wire/session.ts';

/** The lag bound is made anew so often while acks arrive. */
const PROGRESS_US = 10_000;

const NO_EPOCHS: EpochNumbers = { everyNs: 0n, packetNs: 0n, inFlight: 0, digests: false };

export class VmCourier {
  readonly #ring: ExitRing;
  readonly #image: Image | null;
  readonly #digestEvery: number;
  #courier: Courier | null = null;
  #shipping: HostShipping | null = null;
  #receiving: ReceivingOptions | null = null;

  /**
   * @param image what is received goes there; null: to the VM of the ring
   * @param digestEvery instructions between two digests of epochs; 0: none
   */
  constructor(ring: ExitRing, image: Image | null, digestEvery: number) {
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
      (on) => this.#cutEpochs(options.cut, on),
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

  async close(): Promise<void> {
    await this.#courier?.close();
    this.#courier?.destroy();
  }

  #start(): Courier {
    this.#courier ??= new Courier(this.#ring, this.#events(), PROGRESS_US);
    return this.#courier;
  }

  #attach({ link }: PeerSession, from?: LogEntrance): void {
    assert(link instanceof Connection && this.#courier !== null, 'a real peer, a real courier');
    link.handOver(this.#courier, from);
  }

  #cutEpochs(cut: Protocol['cut'], on: boolean): void {
    if (cut === null) return;
    const { everyMs, outputWaitUs, inFlightMax, events, holdWrites, disk } = cut;
    const numbers: EpochNumbers = {
      everyNs: BigInt(everyMs) * 1_000_000n,
      packetNs: BigInt(outputWaitUs) * 1000n,
      inFlight: inFlightMax,
      events,
      holdWrites,
      ioLog: disk === 'io-log',
      digests: this.#digestEvery,
    };
    this.#ring.setEpochs(on ? numbers : NO_EPOCHS);
  }

  #events(): CourierEvents {
    return {
      console: (bytes) => (this.#shipping?.options ?? this.#receiving)?.console(bytes),
      first: () => this.#receiving?.first(),
      logEnded: () => this.#receiving?.ended(),
      diverged: (message) => this.#receiving?.diverged(message),
      logFailed: (errno, path) => {
        const reason = logError(errno, path).message;
        if (this.#shipping !== null) this.#shipping.failed(reason);
        else this.#receiving?.storeFailed(reason);
      },
      progress: () => this.#shipping?.options.progress(),
      broken: (message) => {
        throw new Error(message);
      },
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
  readonly #cutEpochs: (on: boolean) => void;
  #closed: string | null = null;
  #detached = false;
  logError: string | null = null;

  constructor(
    courier: ShippingCourier,
    options: ShippingOptions,
    attach: (session: PeerSession, from?: LogEntrance) => void,
    cutEpochs: (on: boolean) => void = () => {},
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
    this.#cutEpochs(true);
  }

  detach(term: number): void {
    this.#detached = true;
    this.#cutEpochs(false);
    this.#courier.detach(term);
  }

  protect(): void {
    this.#detached = false;
    this.#courier.protect();
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
