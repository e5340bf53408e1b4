// SPDX-License-Identifier: Apache-2.0
/**
 * The primary's state machine until power-on; the running VM is lead.ts's.
 *
 *     starting ──► syncing ──► protected …
 *        listen      hello,       the VM runs
 *                    both QEMUs
 *
 * and from everywhere to stopped.
 */

import { describeHolder } from '../arbiter/arbiter.ts';
import type { Timer } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { POWER_ON } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import { checkHello, welcomeOf } from '../wire/hello.ts';
import { decodeAck, encodeWelcome, type Hello, type Refuse } from '../wire/messages.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import {
  describeLoss,
  type Loss,
  type PeerSession,
  type SessionHandlers,
} from '../wire/session.ts';
import { beatOf } from './beat.ts';
import { Greeter, hasBackup } from './greet.ts';
import { Lead } from './lead.ts';
import { type Outcome, Phase } from './phase.ts';
import type { Vm } from './ports.ts';
import type { PrimaryOptions } from './primary-options.ts';
import { tearDown } from './teardown.ts';

const READY_TIMEOUT_MS = 30_000;
/** Of a power-on. */
const TERM = 1;
const LOST_EARLY: Loss = {
  reason: 'lost while QEMU started',
  code: 'peer-lost',
  detectMs: 0,
  goodbye: null,
};

export class Primary {
  readonly phase: Phase;
  /** Resolves once, when everything is down. */
  readonly done: Promise<Outcome>;
  readonly #o: PrimaryOptions;
  readonly #greeter: Greeter;
  readonly #timers: Timer[] = [];
  #finish: (outcome: Outcome) => void = () => {};
  #peer: PeerSession | null = null;
  #vm: Vm | null = null;
  /** From power-on. */
  #lead: Lead | null = null;
  #ending = false;
  #lastRefused: string | null = null;
  #lastLoss: Loss | null = null;

  constructor(options: PrimaryOptions) {
    this.#o = options;
    this.phase = new Phase(options.report, 'starting');
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#greeter = new Greeter({
      clock: options.clock,
      judge: (hello) => (this.#lead === null ? this.#judge(hello) : this.#lead.judge(hello)),
      accepted: (session, hello) =>
        this.#lead === null ? this.#accepted(session, hello) : this.#lead.admit(session, hello),
      turnedAway: (remote, code, reason) => {
        this.#lastRefused = `${remote}: ${code}: ${reason}`;
        options.report('peer-refused', { remote, code, reason });
      },
    });
  }

  /**
   * Makes sure that the arbiter works, and is ours, before anything depends on it.
   * @throws UnderstudyError arbiter-unreachable | fenced
   */
  async start(where: string): Promise<void> {
    const claim = await this.#o.arbiter.claim(this.vmIdHex, TERM, this.#o.claimant);
    if (claim.result === 'unreachable') {
      throw new UnderstudyError('arbiter-unreachable', claim.reason);
    }
    if (claim.result === 'lost') {
      throw new UnderstudyError('fenced', `this VM id is held by ${describeHolder(claim.holder)}`);
    }
    this.phase.set('starting', `waiting for the backup on ${where}`);
  }

  /** A connection came in. */
  meet(connect: (events: LinkEvents) => Link): void {
    this.#greeter.meet(connect);
  }

  get term(): number {
    return this.#lead?.term ?? TERM;
  }

  get vmIdHex(): string {
    return this.#o.terms.vmId.toString('hex');
  }

  /** The facts behind `status`; see daemon/status.ts. */
  facts() {
    const before = {
      nowMs: this.#o.clock.nowMs(),
      term: TERM,
      vm: this.#vm,
      gate: null,
      shipping: null,
      peer: this.#peer,
      lag: { ms: 0, instructions: 0n, throttled: false },
      backupPosition: POWER_ON,
      lastLoss: this.#lastLoss,
      fence: null,
      diskError: null,
    };
    return { ...(this.#lead?.facts() ?? before), lastRefused: this.#lastRefused };
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#lead?.typeConsole(bytes) ?? false;
  }

  /** Ends the VM on both sides (END record), or asks the guest to power off. */
  stop(options: { powerdown: boolean }): void {
    if (this.#lead !== null) this.#lead.stop(options);
    else this.#end({ ok: true, code: 'stopped', reason: 'stopped by the operator' });
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string): void {
    if (this.#lead !== null) this.#lead.abort(reason);
    else this.#end({ ok: false, code: 'failure', reason });
  }

  /** @throws UnderstudyError not-running when there is no backup to hand over to */
  async promote(): Promise<void> {
    if (this.#lead !== null) return this.#lead.promote();
    throw new UnderstudyError(
      'not-running',
      `no backup to hand over to: the state is ${this.phase.state} (${this.phase.reason})`,
    );
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#o.clock.after(ms, run));
  }

  #judge(hello: Hello): Refuse | null {
    if (this.#peer !== null) return hasBackup(`backup ${this.#peer.remote}`);
    if (this.#ending) return hasBackup('stopping');
    return checkHello(hello, this.#o.facts);
  }

  #accepted(session: PeerSession, hello: Hello): SessionHandlers {
    const { facts, terms, report } = this.#o;
    this.#peer = session;
    this.phase.set('syncing', `backup ${hello.host} (${session.remote}) is starting its VM`);
    session.send(encodeWelcome(welcomeOf(facts, { ...terms, term: TERM })));
    session.startHeartbeats({ intervalMs: terms.heartbeatMs, missed: terms.heartbeatMissed }, () =>
      beatOf(this.#vm, this.phase.state, this.term),
    );
    const { readyTimeoutMs = READY_TIMEOUT_MS } = this.#o;
    this.#after(readyTimeoutMs, () => {
      if (this.#peer !== session || this.#vm !== null) return;
      session.abandon('not ready');
      this.#waitAgain(`the backup was not ready within ${readyTimeoutMs} ms`);
    });
    return {
      frame: (frame) => this.#frame(session, frame),
      heartbeat: (beat) => this.#lead?.heard(beat.state, beat.position),
      goodbye: (goodbye) => report('backup-goodbye', { ...goodbye }),
      lost: (loss) => this.#lost(loss),
      drained: () => {},
    };
  }

  #frame(session: PeerSession, frame: Frame): void {
    if (frame.type !== FRAME.ACK) throw unexpected(frame, 'a backup');
    // Before power-on; from then on acks go to the courier.
    if (!decodeAck(frame).ready) {
      throw new UnderstudyError('peer-protocol', 'an ack came before any batch was sent');
    }
    if (this.#vm === null) void this.#launch(session);
  }

  /** The backup's QEMU waits for the log: power on. */
  async #launch(session: PeerSession): Promise<void> {
    let vm: Vm;
    try {
      vm = await this.#o.launch();
    } catch (error) {
      const reason = messageOf(error);
      this.#peer?.sayGoodbye({ reason: 'failed', message: reason, lastSequence: 0n, term: TERM });
      this.#end({ ok: false, code: 'failure', reason });
      return;
    }
    if (this.#ending) {
      vm.kill();
      return;
    }
    this.#vm = vm;
    const lead = new Lead({
      ...this.#o,
      phase: this.phase,
      vm,
      term: TERM,
      ended: (outcome) => this.#end(outcome),
    });
    this.#lead = lead;
    if (!session.over) {
      lead.protect(session);
      return;
    }
    // Lost while QEMU started: it has run without a backup, so the fence decides. One
    // that came meanwhile comes again, to a VM that runs.
    if (this.#peer !== session) this.#peer?.abandon('the VM has started without it');
    lead.lost(this.#lastLoss ?? LOST_EARLY);
  }

  #waitAgain(reason: string): void {
    this.#peer = null;
    this.phase.set('starting', `${reason}; waiting for a backup`);
  }

  #lost(loss: Loss): void {
    this.#lastLoss = loss;
    if (this.#lead !== null) {
      this.#lead.lost(loss);
      return;
    }
    this.#o.report('backup-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    if (this.#ending) return;
    this.#waitAgain(`lost the backup before power-on: ${describeLoss(loss)}`);
  }

  #end(outcome: Outcome): void {
    if (this.#ending) return;
    this.#ending = true;
    for (const timer of this.#timers) timer.cancel();
    this.#greeter.close();
    if (this.#lead === null) this.#peer?.finish();
    this.phase.set('stopped', outcome.reason);
    void tearDown(this.#vm, this.#o.log).then(() => this.#finish(outcome));
  }
}
