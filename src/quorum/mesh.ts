// SPDX-License-Identifier: Apache-2.0
/**
 * Connections between replicas: of two, the one with the lower id dials, again and again, and the
 * other listens. A connection begins with a hello each way (addon/quorum/hello.h), and then is
 * the replica's own thread's.
 */
import {
  Link,
  Listener,
  type QuorumReplica,
  type Security,
} from '../../native/kvm-exit-log/index.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';

export interface Place {
  readonly id: number;
  readonly host: string;
  readonly port: number;
}

export interface MeshOptions {
  readonly clock: Clock;
  readonly replica: QuorumReplica;
  readonly own: Place;
  readonly others: readonly Place[];
  /** Asked for each connection; null: plaintext. */
  readonly security: () => Security | null;
  /** Told of each new reason why a replica cannot be reached; null: it is. */
  readonly told: (id: number, problem: string | null) => void;
  /** Somebody came who is no replica of this VM. */
  readonly turnedAway: (remote: string, reason: string) => void;
}

const RETRY_MS = 200;
/** Who connects says who it is within this time. */
const HELLO_MS_MAX = 10_000;
/** Strangers of whom we know nothing yet, at most; more are turned away. */
const STRANGERS_MAX = 16;

export class Mesh {
  readonly #o: MeshOptions;
  readonly #dialing = new Map<number, Link>();
  readonly #strangers = new Set<Link>();
  readonly #timers = new Set<Timer>();
  readonly #problems = new Map<number, string | null>();
  #listener: Listener | null = null;
  #closed = false;

  private constructor(options: MeshOptions) {
    this.#o = options;
  }

  /** @throws a system error (`code` as EADDRINUSE, ENOTFOUND) */
  static async join(options: MeshOptions): Promise<Mesh> {
    const mesh = new Mesh(options);
    const { own, others, security } = options;
    mesh.#listener = await Listener.on(own.host, own.port, (link) => mesh.#meet(link), security);
    for (const other of others) mesh.#dial(other);
    return mesh;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** The replica has lost its link: to be called by who hears of it. */
  closed(id: number, message: string): void {
    this.#problem(id, message);
    const other = this.#o.others.find((one) => one.id === id);
    if (other !== undefined) this.#after(RETRY_MS, () => this.#dial(other));
  }

  close(): void {
    this.#closed = true;
    for (const timer of [...this.#timers]) timer.cancel();
    for (const link of [...this.#dialing.values(), ...this.#strangers]) link.drop();
    this.#listener?.close();
  }

  #after(ms: number, run: () => void): Timer {
    const timer = this.#o.clock.after(ms, () => {
      this.#timers.delete(it);
      if (!this.#closed) run();
    });
    const it = {
      cancel: (): void => {
        timer.cancel();
        this.#timers.delete(it);
      },
    };
    this.#timers.add(it);
    return it;
  }

  #problem(id: number, problem: string | null): void {
    if (this.#problems.get(id) === problem) return;
    this.#problems.set(id, problem);
    this.#o.told(id, problem);
  }

  #dial(other: Place): void {
    const { own, replica, security } = this.#o;
    if (other.id < own.id || this.#dialing.has(other.id)) return;
    const link = Link.to(other.host, other.port, security());
    this.#dialing.set(other.id, link);
    let over = false;
    const again = (problem: string): void => {
      if (over) return;
      over = true;
      this.#dialing.delete(other.id);
      this.#problem(other.id, problem);
      this.#after(RETRY_MS, () => this.#dial(other));
    };
    const patience = this.#after(HELLO_MS_MAX, () => {
      link.drop();
      again('it does not answer');
    });
    link.start({
      frame: (frame) => {
        patience.cancel();
        try {
          replica.attach(link, frame, false);
          over = true;
          this.#dialing.delete(other.id);
          this.#problem(other.id, null);
        } catch (error) {
          link.drop();
          again(messageOf(error));
        }
      },
      closed: (_code, message) => {
        patience.cancel();
        again(message);
      },
      drained: () => {},
    });
    link.send(replica.hello(other.id));
  }

  #meet(link: Link): void {
    const { replica, turnedAway } = this.#o;
    if (this.#strangers.size >= STRANGERS_MAX) {
      turnedAway(link.remote, 'too many at a time');
      link.drop();
      return;
    }
    this.#strangers.add(link);
    const leave = (reason: string): void => {
      patience.cancel();
      this.#strangers.delete(link);
      link.drop();
      turnedAway(link.remote, reason);
    };
    const patience = this.#after(HELLO_MS_MAX, () => leave('it has not said who it is'));
    link.start({
      frame: (frame) => {
        try {
          const id = replica.attach(link, frame, true);
          patience.cancel();
          this.#strangers.delete(link);
          this.#problem(id, null);
        } catch (error) {
          leave(messageOf(error));
        }
      },
      closed: (_code, message) => leave(message),
      drained: () => {},
    });
  }
}
