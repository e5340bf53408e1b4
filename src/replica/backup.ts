// SPDX-License-Identifier: Apache-2.0
/**
 * The backup's state machine, until its VM is live; from then on it is lead.ts's.
 *
 *     starting ──► syncing ──► standby ──► (primary lost: fence, drain) ──► needs-backup …
 *        join       QEMU        replays                                       live, alone
 *
 * and from everywhere to stopped. A backup that has received nothing yet, or that has
 * not come up to a VM that ran already, has nothing to take over: it joins again.
 */
import { assert } from '../base/assert.ts';
import { sleep, type Timer } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { FRAME } from '../log/frame.ts';
import type { VmFacts } from '../wire/hello.ts';
import { decodeProtected } from '../wire/joining.ts';
import type { Goodbye } from '../wire/messages.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import {
  type Beat,
  describeGoodbye,
  describeLoss,
  type Loss,
  type PeerSession,
} from '../wire/session.ts';
import type { BackupOptions } from './backup-options.ts';
import { beatOf } from './beat.ts';
import { detected, type FailoverTimes, failOver } from './failover.ts';
import { type Joined, join } from './join.ts';
import { Joining } from './joining.ts';
import { Live } from './live.ts';
import { type Outcome, Phase } from './phase.ts';
import { readyFrame, type Standby, startStandby, untilReady } from './standby.ts';
import { tearDown } from './teardown.ts';

const JOIN_RETRY_MS = 200;
/** After a join that came to nothing. */
const JOIN_AGAIN_MS = 1000;
const END_TIMEOUT_MS = 30_000;

export class Backup {
  readonly phase: Phase;
  /** Resolves once, when everything is down. */
  readonly done: Promise<Outcome>;
  readonly #o: BackupOptions;
  #finish: (outcome: Outcome) => void = () => {};
  /** From the welcome on. */
  #session: PeerSession | null = null;
  #joining: Joining | null = null;
  #run: Standby | null = null;
  /** The primary has said, or its log has, that this side may take over. */
  #entitled = false;
  #live: Live | null = null;
  /** As told in the last hello. */
  #facts: VmFacts | null = null;
  #term = 0;
  readonly #timers: Timer[] = [];
  #ending = false;
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

  /** Joins and stands by. */
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
      lead: this.#live?.lead.facts() ?? null,
      failover: this.#failing,
      primaryPosition: this.#primaryPosition,
      lastRefused: this.#live?.lastRefused ?? null,
    };
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#live?.lead.typeConsole(bytes) ?? false;
  }

  /** Ends this side: a live VM gets its END, a standby leaves its primary. */
  stop(options: { powerdown: boolean }): void {
    if (this.#live !== null) this.#live.lead.stop(options);
    else this.#leave('stop', { ok: true, code: 'stopped', reason: 'stopped by the operator' });
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string): void {
    if (this.#live !== null) this.#live.lead.abort(reason);
    else this.#end({ ok: false, code: 'failure', reason });
  }

  /** @throws UnderstudyError not-running when there is nothing to take over, or nobody to hand over to */
  async promote(): Promise<void> {
    if (this.#live !== null) return this.#live.lead.promote();
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
      this.#session = null;
      try {
        const facts = await o.facts();
        this.#facts = facts;
        const joined = await join({
          ...o,
          facts,
          deadlineMs: o.joinDeadlineMs,
          retryMs: JOIN_RETRY_MS,
          waiting: (why) => this.phase.set('starting', `looking for the primary: ${why}`),
          cancelled: () => this.#ending,
        });
        if (joined === null) return;
        this.#session = joined.session;
        if (await this.#stand(joined)) return;
        if (joined.welcome.settings.join === 'running') await sleep(o.clock, JOIN_AGAIN_MS);
      } catch (error) {
        this.#session?.sayGoodbye(this.#farewell('failed', messageOf(error)));
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

  /** @returns false to join again: the primary was lost, and there is nothing to take over */
  async #stand(joined: Joined): Promise<boolean> {
    const o = this.#o;
    const { session, welcome } = joined;
    let early: Loss | null = null;
    let run: Standby | null = null;
    this.#entitled = false;
    const joining = welcome.settings.join === 'running' ? this.#joinRunning(joined) : null;
    this.#joining = joining;
    joined.handle({
      frame: (frame) => {
        if (joining === null) throw unexpected(frame, 'a primary');
        if (run === null) joining.frame(frame);
        else this.#protected(frame);
      },
      heartbeat: (beat) => {
        this.#primaryPosition = beat.position;
      },
      goodbye: (goodbye) => this.#goodbye(goodbye),
      lost: (loss) => {
        if (run !== null) {
          this.#lost(run, loss);
          return;
        }
        early = loss;
        joining?.cancel();
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
    const from = joining === null ? null : await joining.run();
    if (this.#ending) return true;
    if (early !== null) return this.#again(early);
    const current = await startStandby(o, welcome, session, from, {
      first: () => this.#first(joining !== null),
      storeFailed: (reason) =>
        this.#leave('failed', {
          ok: false,
          code: 'failure',
          reason: `the log cannot be stored: ${reason}`,
        }),
      vmExited: (standby, verdict) => this.#vmExited(standby, verdict),
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
      session.send(readyFrame(current, o.clock, this.#facts?.durability === 'disk'));
      const next = joining === null ? 'to power on' : 'to send its log';
      this.phase.set('syncing', `ready; waiting for ${welcome.host} ${next}`);
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

  #joinRunning({ session, welcome }: Joined): Joining {
    return new Joining(session, this.#o.sink(welcome), (text) =>
      this.phase.set('syncing', `joins ${welcome.host} (${session.remote}): ${text}`),
    );
  }

  #again(loss: Loss): boolean {
    this.#o.report('rejoin', { reason: describeLoss(loss) });
    return false;
  }

  #first(joins: boolean): void {
    const run = this.#run;
    if (run === null || this.#failing !== null || this.#ending) return;
    if (joins) {
      this.phase.set('syncing', `catching up with ${run.welcome.host} (${run.session.remote})`);
    } else {
      this.#standBy(run);
    }
  }

  /** Batches go to the courier: of other frames there is one for us. */
  #protected(frame: Frame): void {
    const run = this.#run;
    if (frame.type !== FRAME.PROTECTED) throw unexpected(frame, 'a primary');
    const { sequence, term } = decodeProtected(frame);
    const stored = run?.receiving.facts().storedSequence ?? null;
    if (run === null || term !== this.#term || stored === null || stored < sequence) {
      throw new UnderstudyError(
        'peer-protocol',
        `it counts on batch ${sequence} of term ${term}; here is ${stored} of ${this.#term}`,
      );
    }
    if (this.#failing === null && !this.#ending) this.#standBy(run);
  }

  #standBy(run: Standby): void {
    this.#entitled = true;
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
    if (run === null || this.#ending || !this.#entitled) return;
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
    if (!this.#entitled) {
      this.#again(loss);
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
    const times = detected(this.#o.clock, reason, detectMs);
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

  /** Live already: from here on this side leads. */
  #goLive(run: Standby, reason: string): void {
    const facts = this.#facts;
    assert(facts !== null, 'it joined once');
    this.#o.report('live', { ...this.#failing });
    const now = { run, term: this.#term, facts, phase: this.phase, reason };
    this.#live = new Live(this.#o, { ...now, ended: (outcome) => this.#end(outcome) });
  }

  #vmExited(run: Standby, verdict: Outcome): void {
    if (this.#ending || this.#run !== run || this.#live !== null) return;
    if (verdict.ok && !run.session.over && this.#ended === null) {
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
    if (!this.#ending) this.#session?.sayGoodbye(this.#farewell(reason, outcome.reason));
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
    this.#live?.close();
    this.#joining?.cancel();
    this.#session?.finish();
    this.phase.set('stopped', outcome.reason);
    this.#rejoin();
    void tearDown(run?.vm ?? null, run?.log ?? null)
      .then(() => tearDown(null, this.#live?.log ?? null))
      .then(() => this.#finish(outcome));
  }
}
