// SPDX-License-Identifier: Apache-2.0
/**
 * One stand-by for one primary, from its welcome until one of the two is lost.
 *
 *     joining ──► starting ──► waiting ──► standby ──► taking-over ──► over
 *      state       QEMU        for the      may take     fence,         (live)
 *      comes                   log          over         drain
 *
 * and from everywhere to over. A VM that is powered on sends no state, and its first batch
 * entitles its backup; one that runs says so when it counts on it (PROTECTED). Before that
 * there is nothing to take over: a primary that is lost is looked for again.
 */
import { isCurrentTerm } from '../arbiter/same.ts';
import type { Timer } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import { distance, POWER_ON, type Position } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import type { Goodbye, Welcome } from '../wire/messages.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import {
  type Beat,
  describeGoodbye,
  describeLoss,
  isEnd,
  type Loss,
  type SessionHandlers,
} from '../wire/session.ts';
import { beatOf } from './beat.ts';
import { against, detected, type FailoverTimes, failOver } from './failover.ts';
import { UNDERSTUDIES } from './follower/kinds.ts';
import type { Understudy, UnderstudyOptions } from './follower/understudy.ts';
import { checkProtected, Join } from './join.ts';
import type { Met } from './meet.ts';
import type { Outcome } from './outcome.ts';
import type { Phase } from './phase.ts';
import type { StateSink, Stuck } from './ports.ts';
import { NO_FACTS, type ReplicaFacts, type ReplicaOptions } from './posture.ts';
import { STANDS_STILL } from './sickness.ts';
import { tearDown } from './teardown.ts';

export interface StandByOptions extends ReplicaOptions, UnderstudyOptions {
  /** For one join to a VM that runs. */
  readonly sink: (welcome: Welcome) => StateSink;
}

/** A stand-by whose VM is live. */
export interface WentLive {
  readonly follower: Understudy;
  readonly welcome: Welcome;
  readonly term: number;
  readonly failover: FailoverTimes;
}

export interface StandByEvents {
  readonly phase: Phase;
  live(now: WentLive): void;
  end(outcome: Outcome): void;
}

type State = 'joining' | 'starting' | 'waiting' | 'standby' | 'taking-over' | 'over';

const END_TIMEOUT_MS = 30_000;

export class StandBy {
  readonly #o: StandByOptions;
  readonly #met: Met;
  readonly #events: StandByEvents;
  /** Acks mean fdatasynced. */
  readonly #durable: boolean;
  readonly #join: Join | null;
  readonly #timers: Timer[] = [];
  #state: State = 'joining';
  #term: number;
  #follower: Understudy | null = null;
  /** The primary was lost before there was a QEMU. */
  #early: Loss | null = null;
  /** What the END of the log says, once the replay has reached it. */
  #ended: Outcome | null = null;
  #promoting = false;
  #failover: FailoverTimes | null = null;
  #primaryPosition: Position = POWER_ON;
  #over: () => void = () => {};

  constructor(o: StandByOptions, met: Met, durable: boolean, events: StandByEvents) {
    this.#o = o;
    this.#met = met;
    this.#durable = durable;
    this.#events = events;
    this.#term = met.welcome.term;
    const joins = met.welcome.settings.join === 'running';
    this.#join = joins
      ? new Join(met.session, o.sink(met.welcome), (text) =>
          this.#syncing(`joins ${this.#primary}: ${text}`),
        )
      : null;
  }

  /**
   * Resolves when it is over; nothing is left of it if the primary was lost.
   * @throws UnderstudyError what makes standing by impossible; it is still to be closed
   */
  async run(): Promise<void> {
    const { welcome, session, handle } = this.#met;
    handle(this.#handlers());
    this.#syncing(`welcomed by ${this.#primary}: starting QEMU`);
    session.startHeartbeats(
      { intervalMs: welcome.heartbeatMs, missed: welcome.heartbeatMissed },
      () => this.#beat(),
      () => this.#follower?.receiving.facts().pressed ?? this.#join?.pressed ?? false,
    );
    const from = this.#join === null ? null : await this.#join.run();
    if (this.#state === 'over') return;
    if (this.#early !== null) return this.lookAgain(describeLoss(this.#early));
    this.#state = 'starting';
    if (!(await isCurrentTerm(this.#o.arbiter, this.#vmIdHex, welcome.term))) {
      return this.lookAgain(`the VM has a later term than ${welcome.term} by now`);
    }
    const follower = await UNDERSTUDIES[this.#o.protocol.follower](this.#o, this.#met, from, {
      first: () => this.#first(),
      storeFailed: (reason) => this.#fail('failed', `the log cannot be stored: ${reason}`),
      stuck: (what, message) => this.#stuck(what, message),
      exited: (outcome) => this.#exited(outcome),
    });
    await this.#follow(follower);
    if (this.#isLost) await tearDown(follower.vm, follower.log);
  }

  /** Follows from here on: events drive it. */
  async #follow(follower: Understudy): Promise<void> {
    if (this.#state === 'over') {
      await tearDown(follower.vm, follower.log);
      return;
    }
    this.#state = 'waiting';
    this.#follower = follower;
    const over = new Promise<void>((resolve) => {
      this.#over = resolve;
    });
    if (this.#early !== null) this.#lost(this.#early);
    else if (await follower.untilReady(() => this.#isOver)) {
      const { session, welcome } = this.#met;
      session.send(follower.readyFrame(this.#durable));
      const next = this.#join === null ? 'to power on' : 'to send its log';
      this.#syncing(`ready; waiting for ${welcome.host} ${next}`);
    }
    await over;
  }

  facts(): ReplicaFacts {
    const own = { ...NO_FACTS, term: this.#term };
    const follower = this.#follower;
    if (follower === null) return own;
    const { session } = this.#met;
    const received = follower.receiving.facts();
    const { position } = follower.vm.ring.snapshot();
    session.listen();
    const behind = distance(position.point, this.#primaryPosition.point);
    const peer = session.over ? null : session;
    return {
      ...own,
      vmId: this.#vmIdHex,
      vm: follower.vm,
      peer,
      sequence: received.lastSequence,
      ackedSequence: received.storedSequence,
      backupPosition: position,
      lagInstructions: peer === null ? null : behind > 0n ? behind : 0n,
      logBytes: received.bytes,
      sick: received.stuckMs > 0 ? STANDS_STILL : null,
      imageEpoch: received.imageEpoch,
      imageCompared: received.imageEpoch === null ? null : received.imageCompared,
      failover: this.#failover,
    };
  }

  /** Asks the primary to hand over: it brings the VM to rest and says goodbye. */
  promote(): void {
    this.#promoting = true;
    this.#met.session.beatNow(this.#beat());
  }

  /** Goodbye to the primary, which then has to go on alone (or has ended). */
  leave(reason: string, outcome: Outcome): void {
    this.sayGoodbye(reason, outcome.reason);
    this.#events.end(outcome);
  }

  #fail(word: string, reason: string): void {
    this.leave(word, { ok: false, code: 'failure', reason });
  }

  sayGoodbye(reason: string, message: string): void {
    if (this.#state === 'over') return;
    const lastSequence = this.#follower?.receiving.facts().storedSequence ?? 0n;
    this.#met.session.sayGoodbye({ reason, message, lastSequence, term: this.#term });
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#follower?.receiving.close();
    this.#join?.cancel();
    this.#met.session.finish();
    this.#state = 'over';
    this.#over();
  }

  /** Nothing is to be taken over from this primary. */
  lookAgain(reason: string): void {
    this.#o.report('rejoin', { reason });
    this.#follower = null;
    this.close();
  }

  tearDown(): Promise<void> {
    return tearDown(this.#follower?.vm ?? null, this.#follower?.log ?? null);
  }

  get #primary(): string {
    return `${this.#met.welcome.host} (${this.#met.session.remote})`;
  }

  get #vmIdHex(): string {
    return this.#met.welcome.vmId.toString('hex');
  }

  get #isOver(): boolean {
    return this.#state === 'over';
  }

  /** A batch came, and may be acknowledged: the courier knows before its event is told. */
  get #hasBegun(): boolean {
    return (this.#follower?.receiving.facts().lastSequence ?? null) !== null;
  }

  /** The primary was lost, and there is nothing to take over. */
  get #isLost(): boolean {
    return this.#state === 'over' && this.#follower === null;
  }

  #syncing(reason: string): void {
    this.#events.phase.set('syncing', reason);
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#o.clock.after(ms, run));
  }

  #beat(): Beat {
    const state = this.#promoting ? 'promote' : this.#events.phase.state;
    return beatOf(this.#follower?.vm ?? null, state, this.#term);
  }

  #handlers(): SessionHandlers {
    return {
      frame: (frame) => this.#frame(frame),
      heartbeat: (beat) => {
        this.#primaryPosition = beat.position;
      },
      goodbye: (goodbye) => this.#goodbye(goodbye),
      lost: (loss) => this.#lost(loss),
      drained: () => this.#join?.drained(),
    };
  }

  /** Batches go to the courier: this is what else comes of a VM that runs. */
  #frame(frame: Frame): void {
    if (this.#join === null) throw unexpected(frame, 'a primary');
    if (this.#follower === null) this.#join.frame(frame);
    else if (frame.type === FRAME.PROTECTED) this.#protected(frame, this.#follower);
    else throw unexpected(frame, 'a primary');
  }

  #protected(frame: Frame, { receiving }: Understudy): void {
    checkProtected(frame, this.#term, receiving.facts().storedSequence);
    this.#standBy();
  }

  /** The first batch came: the replay has begun. */
  #first(): void {
    this.#o.generation.follows(this.#vmIdHex, this.#term);
    if (this.#join === null) this.#standBy();
    else if (this.#state === 'waiting') this.#syncing(`catching up with ${this.#primary}`);
  }

  #standBy(): void {
    if (this.#state !== 'waiting' && this.#state !== 'standby') return;
    this.#state = 'standby';
    // Its heartbeats wait behind a log, not behind an epoch's state.
    if (this.#o.protocol.cut === null) this.#met.session.expectControl();
    this.#join?.entitled();
    this.#events.phase.set('standby', `replaying ${this.#primary}`);
  }

  #goodbye(goodbye: Goodbye): void {
    this.#o.report('primary-goodbye', { ...goodbye });
    if (this.#state !== 'standby') return;
    if (this.#ended !== null) {
      this.#events.end(this.#ended);
      return;
    }
    if (isEnd(goodbye)) {
      // The log has its END: the replay gets there by itself.
      this.#after(END_TIMEOUT_MS, () =>
        this.#events.end({ ok: true, code: 'stopped', reason: describeGoodbye(goodbye) }),
      );
      return;
    }
    this.#takeOver(describeGoodbye(goodbye), 0);
  }

  #lost(loss: Loss): void {
    switch (this.#state) {
      case 'joining':
      case 'starting':
        this.#early = loss;
        this.#join?.lost(loss);
        return;
      case 'taking-over':
      case 'over':
        return;
      case 'waiting':
      case 'standby':
        if (this.#state === 'waiting' && this.#join === null && this.#hasBegun) this.#standBy();
        this.#o.report('primary-lost', { reason: loss.reason, detect_ms: loss.detectMs });
        if (this.#ended !== null) this.#events.end(this.#ended);
        else if (loss.goodbye !== null && isEnd(loss.goodbye)) this.#awaitEnd(describeLoss(loss));
        else if (this.#state === 'standby') this.#takeOver(loss.reason, loss.detectMs);
        else this.lookAgain(describeLoss(loss));
    }
  }

  /** A primary that ended its VM is gone; a backup that had not caught up may lack the END. */
  #awaitEnd(why: string): void {
    if (this.#state === 'standby') return; // its goodbye set the limit
    if (!this.#hasBegun) this.lookAgain(why);
    else {
      this.#after(END_TIMEOUT_MS, () => {
        if (this.#state === 'waiting' && this.#ended === null) this.lookAgain(why);
      });
    }
  }

  /** The replay's QEMU has ended. */
  #exited(outcome: Outcome): void {
    if (this.#state === 'over') return;
    if (outcome.ok) this.#o.generation.ended(this.#vmIdHex, this.#term);
    if (outcome.ok && !this.#met.session.over && this.#ended === null) {
      // The primary still needs the last acks; it says goodbye when it has them.
      this.#ended = outcome;
      this.#after(END_TIMEOUT_MS, () => this.#events.end(outcome));
      return;
    }
    this.leave(
      outcome.code === 'divergence' ? 'diverged' : outcome.ok ? 'ended' : 'failed',
      outcome,
    );
  }

  /** The primary goes on without it; once that is lost, the claim waits for the disk. */
  #stuck(what: Stuck, message: string): void {
    this.#o.report('stuck', { what, reason: message });
    if (this.#state === 'taking-over' || this.#isOver) return;
    this.#fail(`${what}-stuck`, `this side cannot be a backup: ${message}`);
  }

  /** The connection stays open until the fence is decided: its close tells the primary. */
  #takeOver(reason: string, detectMs: number): void {
    const follower = this.#follower;
    if (this.#state === 'taking-over' || follower === null) return;
    this.#state = 'taking-over';
    const { welcome, session } = this.#met;
    follower.receiving.close();
    const failover = detected(this.#o.clock, reason, detectMs);
    this.#failover = failover;
    failOver({
      ...this.#o,
      vmId: this.#vmIdHex,
      term: this.#term,
      against: against(session, reason),
      follower,
      times: failover,
      progress: (text) => this.#syncing(text),
      fenced: (term) => {
        this.#term = term;
        session.abandon('took over');
      },
      cancelled: () => this.#isOver,
    }).then(
      (result) => {
        session.abandon('took over');
        if (result.result === 'fenced') {
          this.#events.end({ ok: false, code: 'fenced', reason: result.reason });
        } else if (result.result === 'live') {
          this.#o.report('live', { ...failover });
          this.#events.live({ follower, welcome, term: this.#term, failover });
        }
      },
      (error: unknown) =>
        this.#events.end({ ok: false, code: 'failure', reason: messageOf(error), error }),
    );
  }
}
