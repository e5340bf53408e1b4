// SPDX-License-Identifier: Apache-2.0
/**
 * One replica of a VM, from the start of its daemon to its end: a primary, a backup or a
 * survivor. They differ in the posture that it has at the moment (posture.ts):
 *
 *     understudy primary ──► power-on ──► lead ──────────────► stopped
 *     understudy backup  ──► follow ──► (primary lost) ──► lead ──► stopped
 */
import { assert } from '../base/assert.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import { Follow, type FollowOptions } from './follow.ts';
import { Greeter, type Host } from './greet.ts';
import { Lead } from './lead.ts';
import type { Outcome } from './outcome.ts';
import { Phase } from './phase.ts';
import type { Beginning, Leading, Posture, ReplicaFacts, ReplicaOptions, Self } from './posture.ts';
import { PowerOn, type PowerOnOptions } from './power-on.ts';
import { TurnedAway } from './turned-away.ts';

export class Replica {
  readonly phase: Phase;
  /** Resolves once, when everything is down. */
  readonly done: Promise<Outcome>;
  readonly #o: ReplicaOptions;
  readonly #beginning: Beginning;
  #posture: Posture;
  #greeter: Greeter | null = null;
  readonly #turnedAway: TurnedAway;
  #ending = false;
  #finish: (outcome: Outcome) => void = () => {};

  constructor(options: ReplicaOptions, begin: (self: Self) => Beginning) {
    this.#o = options;
    this.phase = new Phase(options.report, 'starting');
    this.#turnedAway = new TurnedAway(options.clock, options.report);
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#beginning = begin({
      phase: this.phase,
      host: (host) => this.#host(host),
      lead: (now) => this.#lead(now),
      end: (outcome) => this.#end(outcome),
    });
    this.#posture = this.#beginning;
  }

  /** @throws UnderstudyError image-older | arbiter-unreachable | fenced */
  start(): Promise<void> {
    return this.#beginning.start();
  }

  /** A connection came in. Only where a posture hosts. */
  meet(connect: (events: LinkEvents) => Link): void {
    assert(this.#greeter !== null, 'a replica that follows does not listen');
    this.#greeter.meet(connect);
  }

  facts(): ReplicaFacts & { readonly lastRefused: string | null; readonly refused: number } {
    const { last, count } = this.#turnedAway;
    return { ...this.#posture.facts(), lastRefused: last, refused: count };
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#posture.typeConsole(bytes);
  }

  typeGuard(bytes: Uint8Array): boolean {
    return this.#posture.typeGuard(bytes);
  }

  reset(): boolean {
    return this.#posture.reset();
  }

  /** The live VM is here. */
  get leads(): boolean {
    return this.#posture instanceof Lead;
  }

  /** Ends the VM on both sides (END record), asks the guest to power off, or leaves the primary. */
  stop(options: { powerdown: boolean }): void {
    this.#posture.stop(options);
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string, code: 'failure' | 'fenced' = 'failure'): void {
    this.#posture.abort(reason, code);
  }

  /** @throws UnderstudyError not-running when there is nobody to hand over to, or nothing to take over */
  promote(): Promise<void> {
    return this.#posture.promote();
  }

  #host(host: Host): void {
    if (this.#greeter !== null) {
      this.#greeter.host = host;
      return;
    }
    this.#greeter = new Greeter({
      clock: this.#o.clock,
      host,
      turnedAway: (remote, code, reason) => this.#turnedAway.note(remote, code, reason),
    });
  }

  #lead(now: Leading): Lead {
    const { phase } = this;
    const lead = new Lead({ ...this.#o, ...now, phase, ended: (outcome) => this.#end(outcome) });
    this.#posture = lead;
    this.#host(lead);
    return lead;
  }

  #end(outcome: Outcome): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#greeter?.close();
    this.#posture.close();
    this.phase.set('stopped', outcome.reason);
    void this.#posture.tearDown().then(() => this.#finish(outcome));
  }
}

/** `understudy primary`: powers its VM on once there is a backup, and leads. */
export function primary(options: PowerOnOptions): Replica {
  return new Replica(options, (self) => new PowerOn(options, self));
}

/** `understudy backup`: follows whoever has the VM, and leads when that one is lost. */
export function backup(options: FollowOptions): Replica {
  return new Replica(options, (self) => new Follow(options, self));
}
