// SPDX-License-Identifier: Apache-2.0
/** The addon's courier behind the ports Shipping and Receiving, for one VM. */
import {
  Courier,
  type CourierEvents,
  type ExitRing,
  type ShipOptions,
} from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
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
import { Connection } from '../wire/connection.ts';
import type { PeerSession } from '../wire/session.ts';

/** The lag bound is made anew so often while acks arrive. */
const PROGRESS_US = 10_000;

export class VmCourier {
  readonly #ring: ExitRing;
  #courier: Courier | null = null;
  #shipping: HostShipping | null = null;
  #receiving: ReceivingOptions | null = null;

  constructor(ring: ExitRing) {
    this.#ring = ring;
  }

  ship(options: ShippingOptions): Shipping {
    const courier = this.#start();
    const continues = options.log === this.#receiving?.log;
    courier.ship({
      ...shipNumbers(options),
      log: continues ? 'received' : startOf(options.log),
    });
    this.#shipping = new HostShipping(courier, options, (session, from) =>
      this.#attach(session, from),
    );
    return this.#shipping;
  }

  receive(options: ReceivingOptions): Receiving {
    const courier = this.#start();
    const { vmId, term, durability, log, start } = options;
    this.#receiving = options;
    const from = start === undefined ? {} : { start };
    courier.receive({ vmId, term, durable: durability === 'disk', log: startOf(log), ...from });
    this.#attach(options.session);
    return {
      close: () => courier.closeReceive(),
      facts: (): ReceiveFacts => courier.receiveFacts(),
    };
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

  #events(): CourierEvents {
    return {
      console: (bytes) => (this.#shipping?.options ?? this.#receiving)?.console(bytes),
      first: () => this.#receiving?.first(),
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
  #closed: string | null = null;
  #detached = false;
  logError: string | null = null;

  constructor(
    courier: ShippingCourier,
    options: ShippingOptions,
    attach: (session: PeerSession, from?: LogEntrance) => void,
  ) {
    this.#courier = courier;
    this.options = options;
    this.#attach = attach;
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
  }

  detach(term: number): void {
    this.#detached = true;
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
