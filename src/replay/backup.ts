// SPDX-License-Identifier: Apache-2.0
/**
 * The backup's state machine.
 *
 *     starting ──► syncing ──► standby ──► (primary lost: fence, drain) ──► needs-backup
 *        join       QEMU        replays                                       live, alone
 *
 * and from everywhere to stopped. A backup that has received nothing yet has
 * nothing to take over: it joins again.
 */
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { type Outcome, Phase } from '../daemon/phase.ts';
import type { BatchLog, Report, Shipping, Timer } from '../daemon/ports.ts';
import { tearDown } from '../daemon/teardown.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import type { VmFacts } from '../wire/hello.ts';
import type { Goodbye } from '../wire/messages.ts';
import { type Frame, frameName } from '../wire/parser.ts';
import {
  type Beat,
  beatOf,
  describeGoodbye,
  type Loss,
  type PeerSession,
} from '../wire/session.ts';
import { type FailoverTimes, failOver } from './failover.ts';
import type { Claimant } from './fence.ts';
import { type Joined, join } from './join.ts';
import { type LiveOptions, startLive } from './live.ts';
import {
  readyFrame,
  type Standby,
  type StandbyOptions,
  startStandby,
  untilReady,
} from './standby.ts';

export interface BackupOptions extends StandbyOptions, LiveOptions {
  readonly report: Report;
  readonly claimant: Claimant;
  readonly facts: VmFacts;
  readonly connect: (events: LinkEvents) => Link;
  readonly where: string;
  /** How long to look for a primary; null: for ever. */
  readonly joinDeadlineMs: number | null;
}

const JOIN_RETRY_MS = 200;
const END_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

export class Backup {
  readonly phase: Phase;
  /** Resolves once, when everything is down. */
  readonly done: Promise<Outcome>;
  readonly #o: BackupOptions;
  #finish: (outcome: Outcome) => void = () => {};
  #run: Standby | null = null;
  #live: Shipping | null = null;
  #liveLog: BatchLog | null = null;
  #term = 0;
  readonly #timers: Timer[] = [];
  #ending = false;
  #stopping = false;
  #promoting = false;
  /** Set when the replay has reached the END of the log. */
  #ended: Outcome | null = null;
  #failing: FailoverTimes | null = null;
  #primaryPosition = { icount: 0n, vtimeNs: 0n };

  constructor(options: BackupOptions) {
    this.#o = options;
    this.phase = new Phase(options.report, 'starting');
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Joins and stands by; resolves when the first join is over or failed for good. */
  start(): void {
    void this.#joinLoop();
  }

  /** The facts behind `status`; see daemon/status.ts. */
  facts() {
    return {
      nowMs: this.#o.clock.nowMs(),
      term: this.#term,
      run: this.#run,
      received: this.#run?.receiving.facts() ?? null,
      gate: this.#live,
      shipped: this.#live?.facts() ?? null,
      failover: this.#failing,
      primaryPosition: this.#primaryPosition,
    };
  }

  typeConsole(bytes: Uint8Array): boolean {
    if (this.#live === null) return false;
    return this.#run?.vm.ring.typeConsole(bytes) ?? false;
  }

  /** Ends this side: a live VM gets its END, a standby leaves its primary. */
  stop(options: { powerdown: boolean }): void {
    const run = this.#run;
    if (this.#live !== null && run !== null) {
      if (options.powerdown) {
        run.vm.ring.powerdown();
        return;
      }
      if (this.#stopping) return;
      this.#stopping = true;
      run.vm.ring.stop();
      this.#after(STOP_TIMEOUT_MS, () => run.vm.kill());
      return;
    }
    this.#leave('stop', { ok: true, code: 'stopped', reason: 'stopped by the operator' });
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string): void {
    this.#end({ ok: false, code: 'failure', reason });
  }

  /** @throws UnderstudyError not-running when there is nothing to take over */
  promote(): void {
    const run = this.#run;
    if (this.phase.state !== 'standby' || run === null) {
      throw new UnderstudyError(
        'not-running',
        `nothing to take over: the state is ${this.phase.state} (${this.phase.reason})`,
      );
    }
    this.#promoting = true;
    // The primary brings the VM to rest and says goodbye with reason "handover".
    run.session.beatNow(this.#beat());
  }

  async #joinLoop(): Promise<void> {
    const o = this.#o;
    while (!this.#ending) {
      this.phase.set('starting', `looking for the primary at ${o.where}`);
      let session: PeerSession | null = null;
      try {
        const joined = await join({
          clock: o.clock,
          connect: o.connect,
          facts: o.facts,
          where: o.where,
          deadlineMs: o.joinDeadlineMs,
          retryMs: JOIN_RETRY_MS,
          waiting: (why) => this.phase.set('starting', `looking for the primary: ${why}`),
          cancelled: () => this.#ending,
        });
        if (joined === null) return;
        session = joined.session;
        if (await this.#stand(joined)) return;
      } catch (error) {
        session?.sayGoodbye(this.#farewell('failed', messageOf(error)));
        session?.finish();
        const code = error instanceof UnderstudyError ? error.code : 'failure';
        this.#end({
          ok: false,
          code: code === 'peer-refused' || code === 'peer-lost' ? code : 'failure',
          reason: messageOf(error),
          error,
        });
      }
    }
  }

  /** @returns false to join again: the primary was lost before it powered on */
  async #stand(joined: Joined): Promise<boolean> {
    const o = this.#o;
    const { session, welcome } = joined;
    let early: Loss | null = null;
    let run: Standby | null = null;
    joined.handle({
      frame: (frame) => this.#frame(frame),
      heartbeat: (beat) => {
        this.#primaryPosition = beat.position;
      },
      goodbye: (goodbye) => this.#goodbye(goodbye),
      lost: (loss) => {
        if (run === null) early = loss;
        else this.#lost(run, loss);
      },
      drained: () => {},
    });
    this.#term = welcome.term;
    this.phase.set('syncing', `welcomed by ${welcome.host} (${session.remote}): starting QEMU`);
    session.startHeartbeats(
      { intervalMs: welcome.heartbeatMs, missed: welcome.heartbeatMissed },
      () => this.#beat(),
      () => this.#run?.receiving.facts().pressed === true,
    );
    const current = await startStandby(o, welcome, session, {
      first: () => this.#first(),
      storeFailed: (reason) =>
        this.#leave('failed', {
          ok: false,
          code: 'failure',
          reason: `the log cannot be stored: ${reason}`,
        }),
      vmExited: (standby, verdict) => void this.#vmExited(standby, verdict),
    });
    run = current;
    this.#run = current;
    if (this.#ending) {
      await tearDown(current.vm, current.log);
      return true;
    }
    const over = (): boolean => this.#ending || early !== null || this.#run !== current;
    const ready = await untilReady(current, o.clock, over);
    if (this.#ending) return true;
    if (early !== null) this.#lost(current, early);
    else if (ready) {
      session.send(readyFrame(current, o.clock, o.facts.durability === 'disk'));
      this.phase.set('syncing', `ready; waiting for ${welcome.host} to power on`);
    }
    // From here on events drive; a loss before the first batch ends this run.
    await new Promise<void>((resolve) => {
      this.#rejoin = resolve;
      if (this.#run !== current || this.#ending) resolve();
    });
    if (this.#ending) return true;
    await tearDown(current.vm, current.log);
    return false;
  }

  /** Called when this run is over and another join should be tried. */
  #rejoin: () => void = () => {};

  /** Batches go to the courier once there is one; nothing else is for us. */
  #frame(frame: Frame): void {
    throw new UnderstudyError('peer-protocol', `unexpected ${frameName(frame.type)} of a primary`);
  }

  #first(): void {
    const run = this.#run;
    if (run === null || this.#failing !== null || this.#ending) return;
    this.phase.set('standby', `replaying ${run.welcome.host} (${run.session.remote})`);
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#o.clock.after(ms, run));
  }

  #beat(): Beat {
    const state = this.#promoting ? 'promote' : this.phase.state;
    return beatOf(this.#run?.vm ?? null, state, this.#term);
  }

  #goodbye(goodbye: Goodbye): void {
    this.#o.report('primary-goodbye', { ...goodbye });
    const run = this.#run;
    if (run === null || this.#ending || run.receiving.facts().lastSequence === null) return;
    if (this.#ended !== null) {
      this.#end(this.#ended);
      return;
    }
    if (goodbye.reason === 'stop' || goodbye.reason === 'guest-poweroff') {
      // The log has its END: the replay gets there by itself.
      this.#after(END_TIMEOUT_MS, () =>
        this.#end({ ok: true, code: 'stopped', reason: describeGoodbye(goodbye) }),
      );
      return;
    }
    this.#takeOver(run, describeGoodbye(goodbye), 0);
  }

  #lost(run: Standby, loss: Loss): void {
    if (this.#ending || this.#failing !== null || this.#run !== run) return;
    this.#o.report('primary-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    if (this.#ended !== null) {
      this.#end(this.#ended);
      return;
    }
    const said = loss.goodbye?.reason;
    if (said === 'stop' || said === 'guest-poweroff') return; // its END is in the log
    if (run.receiving.facts().lastSequence === null) {
      this.#o.report('rejoin', { reason: loss.reason });
      this.#run = null;
      this.#rejoin();
      return;
    }
    this.#takeOver(run, loss.reason, loss.detectMs);
  }

  /** The connection stays open until the fence is decided: its close tells the primary. */
  #takeOver(run: Standby, reason: string, detectMs: number): void {
    if (this.#failing !== null) return;
    run.receiving.close();
    const times: FailoverTimes = {
      reason,
      detected_at_ms: Math.round(Number(this.#o.clock.realtimeNs() / 1_000_000n)),
      detect_ms: detectMs,
      fence_ms: null,
      drain_ms: null,
      golive_ms: null,
      total_ms: null,
    };
    this.#failing = times;
    failOver({
      arbiter: this.#o.arbiter,
      claimant: this.#o.claimant,
      clock: this.#o.clock,
      vmId: run.welcome.vmId.toString('hex'),
      term: this.#term,
      vm: run.vm,
      receiving: run.receiving,
      times,
      progress: (text) => this.phase.set('syncing', text),
      fenced: (term) => {
        this.#term = term;
        run.session.abandon('took over');
      },
      cancelled: () => this.#ending,
    }).then(
      (result) => {
        run.session.abandon('took over');
        if (result.result === 'fenced') {
          this.#end({ ok: false, code: 'fenced', reason: result.reason });
        } else if (result.result === 'live') {
          this.#goLive(run, reason);
        }
      },
      (error: unknown) =>
        this.#end({ ok: false, code: 'failure', reason: messageOf(error), error }),
    );
  }

  /** Live already; from here on this side only keeps a log and the console. */
  #goLive(run: Standby, reason: string): void {
    this.phase.set('needs-backup', `took over: ${reason}`);
    this.#o.report('live', { ...this.#failing });
    run.vm.ring.setIcountMax(null);
    const { shipping, log } = startLive(this.#o, run, this.#term, (why) =>
      this.phase.set('needs-backup', `took over: ${reason}; the log ended: ${why}`),
    );
    this.#live = shipping;
    this.#liveLog = log;
  }

  async #vmExited(run: Standby, verdict: Outcome): Promise<void> {
    if (this.#ending || this.#run !== run) return;
    await this.#live?.flush();
    if (this.#ending || this.#run !== run) return;
    if (this.#stopping) {
      this.#end({ ok: true, code: 'stopped', reason: 'stopped by the operator' });
      return;
    }
    if (verdict.ok && this.#live === null && !run.session.over && this.#ended === null) {
      // The primary still needs the last acks; it says goodbye when it has them.
      this.#ended = verdict;
      this.#after(END_TIMEOUT_MS, () => this.#end(verdict));
      return;
    }
    this.#leave(
      verdict.code === 'divergence' ? 'diverged' : verdict.ok ? 'ended' : 'failed',
      verdict,
    );
  }

  /** Goodbye to the primary, which then has to go on alone (or has ended). */
  #leave(reason: string, outcome: Outcome): void {
    const run = this.#run;
    if (!this.#ending) run?.session.sayGoodbye(this.#farewell(reason, outcome.reason));
    this.#end(outcome);
  }

  #farewell(reason: string, message: string): Goodbye {
    const lastSequence = this.#run?.receiving.facts().storedSequence ?? 0n;
    return { reason, message, lastSequence, term: this.#term };
  }

  #end(outcome: Outcome): void {
    if (this.#ending) return;
    this.#ending = true;
    for (const timer of this.#timers) timer.cancel();
    const run = this.#run;
    run?.receiving.close();
    this.#live?.stop();
    run?.session.finish();
    this.phase.set('stopped', outcome.reason);
    this.#rejoin();
    void tearDown(run?.vm ?? null, run?.log ?? null)
      .then(() => tearDown(null, this.#liveLog))
      .then(() => this.#finish(outcome));
  }
}
