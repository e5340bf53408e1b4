// SPDX-License-Identifier: Apache-2.0
/**
 * The posture of a primary until its VM is powered on; then lead.ts's.
 *
 *     starting ──► syncing ──► (power-on: lead)
 *        listen      hello,
 *                    both QEMUs
 */

import { describeHolder } from '../arbiter/arbiter.ts';
import type { Timer } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { POWER_ON } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import { checkHello, type Terms, type VmFacts, welcomeOf } from '../wire/hello.ts';
import { decodeAck, encodeWelcome, type Hello, type Refuse } from '../wire/messages.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import {
  describeLoss,
  isSick,
  type Loss,
  type PeerSession,
  type SessionHandlers,
} from '../wire/session.ts';
import { beatOf } from './beat.ts';
import { type Host, hasBackup } from './greet.ts';
import type { Lead } from './lead.ts';
import type { BatchLog, Vm } from './ports.ts';
import {
  type Beginning,
  NO_FACTS,
  type ReplicaFacts,
  type ReplicaOptions,
  type Self,
} from './posture.ts';
import { lossBecause } from './sickness.ts';
import { tearDown } from './teardown.ts';

export interface PowerOnOptions extends ReplicaOptions {
  readonly facts: VmFacts;
  /** Among them 16 random bytes, the VM id: this power-on. */
  readonly terms: Omit<Terms, 'term'>;
  /** Where it listens, for messages. */
  readonly where: string;
  readonly launch: () => Promise<Vm>;
  /** How long a backup may take to start its VM. */
  readonly readyTimeoutMs?: number;
  readonly log: BatchLog;
}

const READY_TIMEOUT_MS = 30_000;
/** Term of a power-on. */
const TERM = 1;
const LOST_EARLY: Loss = {
  reason: 'lost while QEMU started',
  code: 'peer-lost',
  detectMs: 0,
  goodbye: null,
};

export class PowerOn implements Beginning, Host {
  readonly #o: PowerOnOptions;
  readonly #self: Self;
  readonly #timers: Timer[] = [];
  #peer: PeerSession | null = null;
  /** A VM starts only once; who is ready while it does comes to one that runs. */
  #isLaunching = false;
  /** From power-on: the peer's session still comes here. */
  #lead: Lead | null = null;
  #closed = false;
  #lastLoss: Loss | null = null;

  constructor(options: PowerOnOptions, self: Self) {
    this.#o = options;
    this.#self = self;
    self.host(this);
  }

  /**
   * Makes sure that the images may be powered on, and that the arbiter works, and is ours,
   * before anything depends on it.
   * @throws UnderstudyError image-older | arbiter-unreachable | fenced
   */
  async start(): Promise<void> {
    await this.#o.generation.check();
    const claim = await this.#o.arbiter.claim(this.#vmIdHex, TERM, this.#o.claimant);
    if (claim.result === 'unreachable') {
      throw new UnderstudyError('arbiter-unreachable', claim.reason);
    }
    if (claim.result === 'lost') {
      throw new UnderstudyError('fenced', `this VM id is held by ${describeHolder(claim.holder)}`);
    }
    this.#self.phase.set('starting', `waiting for the backup on ${this.#o.where}`);
  }

  get #vmIdHex(): string {
    return this.#o.terms.vmId.toString('hex');
  }

  facts(): ReplicaFacts {
    const own = { ...NO_FACTS, term: TERM, vmId: this.#vmIdHex, lastLoss: this.#lastLoss };
    const peer = this.#peer;
    if (peer === null) return own;
    return { ...own, peer, backupPosition: POWER_ON, lagMs: 0, lagInstructions: 0n };
  }

  typeConsole(): boolean {
    return false;
  }

  typeGuard(): boolean {
    return false;
  }

  reset(): boolean {
    return false;
  }

  stop(): void {
    this.#self.end({ ok: true, code: 'stopped', reason: 'stopped by the operator' });
  }

  abort(reason: string, code: 'failure' | 'fenced' = 'failure'): void {
    this.#self.end({ ok: false, code, reason });
  }

  async promote(): Promise<void> {
    const { state, reason } = this.#self.phase;
    throw new UnderstudyError(
      'not-running',
      `no backup to hand over to: the state is ${state} (${reason})`,
    );
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimers();
    this.#peer?.finish();
  }

  #cancelTimers(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel();
  }

  tearDown(): Promise<void> {
    return tearDown(null, this.#o.log);
  }

  judge(hello: Hello): Refuse | null {
    if (this.#peer !== null) return hasBackup(`backup ${this.#peer.remote}`);
    if (this.#closed) return hasBackup('stopping');
    return checkHello(hello, this.#o.facts);
  }

  admit(session: PeerSession, hello: Hello): SessionHandlers {
    const { facts, terms, report } = this.#o;
    const { phase } = this.#self;
    this.#peer = session;
    phase.set('syncing', `backup ${hello.host} (${session.remote}) is starting its VM`);
    session.send(encodeWelcome(welcomeOf(facts, { ...terms, term: TERM })));
    session.startHeartbeats({ intervalMs: terms.heartbeatMs, missed: terms.heartbeatMissed }, () =>
      this.#lead === null ? beatOf(null, phase.state, TERM) : this.#lead.beat(),
    );
    const { readyTimeoutMs = READY_TIMEOUT_MS } = this.#o;
    const timer = this.#o.clock.after(readyTimeoutMs, () => {
      if (this.#peer !== session || this.#lead !== null) return;
      session.abandon('not ready');
      this.#waitAgain(`the backup was not ready within ${readyTimeoutMs} ms`);
    });
    this.#timers.push(timer);
    return {
      frame: (frame) => this.#frame(session, frame),
      heartbeat: (beat) => this.#lead?.heard(session, beat),
      goodbye: (goodbye) => {
        report('backup-goodbye', { ...goodbye });
        if (!isSick(goodbye)) return;
        session.abandon(goodbye.reason);
        this.#lost(session, lossBecause(goodbye.message, goodbye));
      },
      lost: (loss) => this.#lost(session, loss),
      drained: () => {},
    };
  }

  #frame(session: PeerSession, frame: Frame): void {
    if (frame.type !== FRAME.ACK) throw unexpected(frame, 'a backup');
    // Before power-on; from then on acks go to the courier.
    if (!decodeAck(frame).ready) {
      throw new UnderstudyError('peer-protocol', 'an ack came before any batch was sent');
    }
    if (this.#isLaunching) return;
    this.#isLaunching = true;
    void this.#launch(session);
  }

  /** The backup's QEMU waits for the log: power on. */
  async #launch(session: PeerSession): Promise<void> {
    let vm: Vm;
    try {
      await this.#o.generation.powersOn(this.#vmIdHex);
      vm = await this.#o.launch();
    } catch (error) {
      const reason = messageOf(error);
      this.#peer?.sayGoodbye({ reason: 'failed', message: reason, lastSequence: 0n, term: TERM });
      this.#self.end({ ok: false, code: 'failure', reason, error });
      return;
    }
    if (this.#closed) {
      vm.kill();
      return;
    }
    this.#cancelTimers();
    const { facts, terms, log } = this.#o;
    const lead = this.#self.lead({ vm, term: TERM, log, facts, terms, survived: null });
    this.#lead = lead;
    if (!session.over) {
      lead.protect(session);
      return;
    }
    // Lost while QEMU started: it has run without a backup, so the fence decides. One
    // that came meanwhile comes again, to a VM that runs.
    if (this.#peer !== session) this.#peer?.abandon('the VM has started without it');
    lead.lost(session, this.#lastLoss ?? LOST_EARLY);
  }

  #waitAgain(reason: string): void {
    this.#peer = null;
    this.#self.phase.set('starting', `${reason}; waiting for a backup`);
  }

  #lost(session: PeerSession, loss: Loss): void {
    this.#lastLoss = loss;
    if (this.#lead !== null) {
      this.#lead.lost(session, loss);
      return;
    }
    this.#o.report('backup-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    if (this.#closed) return;
    this.#waitAgain(`lost the backup before power-on: ${describeLoss(loss)}`);
  }
}
