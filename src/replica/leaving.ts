// SPDX-License-Identifier: Apache-2.0
/**
 * How a side that leads leaves its VM to its backup: asked to by the operator, or because it is
 * sick itself. And how it finds that its backup is.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Loss, PeerSession } from '../wire/session.ts';
import type { Follower, Followers } from './followers.ts';
import { HANDOVER_TIMEOUT_MS, Handover, NOT_TAKEN_OVER } from './handover.ts';
import type { Outcome } from './outcome.ts';
import type { Phase } from './phase.ts';
import type { Report, Shipping, Stuck, Vm } from './ports.ts';
import { lossBecause, STANDS_STILL } from './sickness.ts';

const ASKED = 'the operator asked for a switch-over';

interface SickDisk {
  readonly how: 'stuck' | 'failing';
  readonly text: string;
}

export interface LeavingOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly phase: Phase;
  readonly vm: Vm;
  readonly shipping: Shipping;
  readonly followers: Followers;
  readonly goodbye: (reason: string, message: string) => void;
  readonly lost: (session: PeerSession, loss: Loss) => void;
}

export class Leaving {
  readonly #o: LeavingOptions;
  readonly #handover: Handover;
  readonly #timers: Timer[] = [];
  #sick = STANDS_STILL;
  /** Why the backup is to take over, where nobody asked for it. */
  #why: string | null = null;
  /** One of the VM's that does not answer, or fails. */
  #sickDisk: SickDisk | null = null;
  #over = false;

  constructor(options: LeavingOptions) {
    this.#o = options;
    this.#handover = new Handover(options.vm, options.shipping, options.clock);
    options.vm.onDisk((news) => {
      if (news.kind === 'answers') this.#sickDisk = null;
      const { kind: how } = news;
      if (how === 'stuck' || how === 'failing') this.#diskSick({ how, text: news.text });
    });
  }

  /** The other side has the VM. */
  fenced(held: string): Outcome {
    const why = this.#why;
    if (!this.isUnderWay) {
      return { ok: false, code: 'fenced', reason: `${why ?? 'fenced'}: ${held}` };
    }
    const how = why === null ? 'handed over' : `handed over (${why})`;
    return { ok: true, code: 'stopped', reason: `${how}: ${held}` };
  }

  get isUnderWay(): boolean {
    return this.#handover.isUnderWay;
  }

  /** Why this side is not to be relied on now, or null. */
  get sick(): string | null {
    const { shipping } = this.#o;
    const log = shipping.logError !== null || shipping.facts().stuckMs > 0 ? this.#sick : null;
    return log ?? this.#sickDisk?.text ?? null;
  }

  /**
   * The VM is brought to rest, its last log shipped, and the backup asked to take the fence.
   * Losing the fence is what stops this side; winning it (the backup died meanwhile) lets it
   * go on. A failed log of its own is no hindrance.
   */
  async handOver({ session }: Follower, reason = 'handover', message = ASKED): Promise<void> {
    if (this.isUnderWay) return;
    if (message !== ASKED) this.#why = message;
    this.#o.report('handover', { to: session.remote, reason: message });
    await this.#handover.rest();
    if (this.#o.followers.of(session) === null) return; // lost meanwhile: the fence decides
    this.#o.goodbye(reason, message);
    this.#awaitTakeOver(session);
  }

  /** The backup did not take over. */
  undo(): void {
    this.#why = null;
    // The guest is told of what failed.
    if (this.#sickDisk?.how === 'failing') this.#sickDisk = null;
    this.#handover.undo();
    this.#o.shipping.reopen();
  }

  /** Something makes no progress, here or there. */
  stuck(what: Stuck, message: string): void {
    const { report, phase, shipping, followers } = this.#o;
    if (this.#over) return;
    report('stuck', { what, reason: message });
    if (what !== 'acks') this.#sick = message;
    for (const { session } of followers.covering) {
      if (what === 'acks') {
        // It lives, and would claim the fence when its connection ended: that comes after our claim.
        this.#o.lost(session, lossBecause(message));
        continue;
      }
      // It has had our last words: the courier said them.
      this.#why = message;
      shipping.close(message);
      phase.set('syncing', `outputs are stopped: ${message}; the backup takes over`);
      this.#awaitTakeOver(session);
    }
  }

  /** The backup's may be well. */
  #diskSick(disk: SickDisk): void {
    this.#sickDisk = disk;
    for (const follower of this.#o.followers.covering) {
      void this.handOver(follower, `disk-${disk.how}`, disk.text);
    }
  }

  /** The backup's may have room. */
  diskFull(text: string): void {
    for (const follower of this.#o.followers.covering) {
      void this.handOver(follower, 'disk-full', text);
    }
  }

  logFailed(reason: string): void {
    const { phase, shipping, followers } = this.#o;
    this.#sick = `the log cannot be written: ${reason}`;
    if (shipping.detached) {
      phase.set(phase.state, `${phase.reason}; the log ended: ${reason}`);
      return;
    }
    phase.set('syncing', `outputs are stopped: ${this.#sick}`);
    for (const follower of followers.covering) {
      void this.handOver(follower, 'log-failed', this.#sick);
    }
  }

  stop(): void {
    this.#over = true;
    for (const timer of this.#timers) timer.cancel();
  }

  #awaitTakeOver(session: PeerSession): void {
    const { clock } = this.#o;
    this.#timers.push(clock.after(HANDOVER_TIMEOUT_MS, () => this.#drop(session, NOT_TAKEN_OVER)));
  }

  #drop(session: PeerSession, loss: Loss): void {
    if (this.#over || this.#o.followers.of(session) === null) return;
    session.abandon(loss.reason);
    this.#o.lost(session, loss);
  }
}
