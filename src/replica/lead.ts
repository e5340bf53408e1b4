// SPDX-License-Identifier: Apache-2.0
/**
 * The posture of a replica whose VM is live: a primary since power-on, or a survivor.
 *
 *     protected ──► (backup lost: fence) ──► needs-backup ──► syncing ──► protected
 *      outputs held        runs alone           a backup joins
 *
 * and from everywhere to stopped. One rule decides every doubt: outputs leave only
 * with an ack that covers them, or after the fence is won.
 */

import { describeHolder } from '../arbiter/arbiter.ts';
import type { Timer } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { Position } from '../base/position.ts';
import type { Hello, Refuse } from '../wire/messages.ts';
import {
  type Beat,
  describeLoss,
  type Loss,
  type PeerSession,
  type SessionHandlers,
} from '../wire/session.ts';
import { Admission } from './admission.ts';
import { beatOf } from './beat.ts';
import { DiskWatch } from './disk-watch.ts';
import { against } from './failover.ts';
import { type Follower, Followers } from './followers.ts';
import { type Host, judgeHello } from './greet.ts';
import { Leaving } from './leaving.ts';
import type { Outcome } from './outcome.ts';
import type { Phase } from './phase.ts';
import type { Shipping, Vm, VmExit } from './ports.ts';
import type { FenceFacts, Leading, Posture, ReplicaFacts, ReplicaOptions } from './posture.ts';
import { claimUnlessSick } from './sickness.ts';
import { tearDown } from './teardown.ts';

const STOP_TIMEOUT_MS = 10_000;
const LAST_ACKS_TIMEOUT_MS = 5_000;
const HOLDS =
  'there is no backup, and unprotected = "hold": outputs wait for one, or for `promote`';

export interface LeadOptions extends ReplicaOptions, Leading {
  readonly phase: Phase;
  /** Once; it is still to be closed and torn down. */
  readonly ended: (outcome: Outcome) => void;
}

export class Lead implements Posture, Host {
  readonly #o: LeadOptions;
  readonly #vm: Vm;
  readonly #shipping: Shipping;
  readonly #timers: Timer[] = [];
  readonly #disks: DiskWatch;
  readonly #followers: Followers;
  #term: number;
  #ending = false;
  /** The operator's stop, once asked for. */
  #stopping = false;
  readonly #leaving: Leaving;
  /** Why the guest ended by itself, once it has. */
  #vmEnd: string | null = null;
  #lastLoss: Loss | null = null;
  #lostSession: PeerSession | null = null;
  #fence: FenceFacts | null = null;
  /** Outputs may leave without a backup. */
  #runsAlone: boolean;

  constructor(options: LeadOptions) {
    this.#o = options;
    this.#vm = options.vm;
    this.#term = options.term;
    this.#runsAlone = options.unprotected === 'run';
    this.#followers = new Followers(options.protocol, options.clock);
    this.#shipping = options.vm.ship({
      ...options.terms,
      ...options.protocol,
      term: options.term,
      log: options.log,
      console: options.console,
      guard: options.guard,
      logFailed: (reason) => this.#leaving.logFailed(reason),
      stuck: (what, message) => this.#leaving.stuck(what, message),
      progress: () => this.#progress(),
    });
    this.#leaving = new Leaving({
      ...options,
      shipping: this.#shipping,
      followers: this.#followers,
      goodbye: (reason, message) => this.#sayGoodbye(reason, message),
      lost: (session, loss) => this.lost(session, loss),
    });
    options.vm.onExit((exit) => void this.#vmExited(exit));
    this.#disks = new DiskWatch(options.clock, options.report, () => {
      if (!this.#ending) this.#leaving.diskFull(this.#disks.error?.text ?? '');
    });
    options.vm.onDisk((news) => this.#disks.heard(news));
  }

  facts(): ReplicaFacts {
    const shipping = this.#shipping.facts();
    const { closedReason, detached, logError } = this.#shipping;
    const { survived } = this.#o;
    return {
      term: this.#term,
      vmId: this.#vmIdHex,
      vm: this.#vm,
      sequence: shipping.sequence - 1n,
      ackedSequence: shipping.ackedSequence,
      ...this.#followers.facts(detached),
      logBytes: (survived?.logBytes ?? 0) + shipping.bytes,
      batchesHeld: shipping.held,
      outputsStopped: closedReason,
      logError,
      sick: this.#leaving.sick,
      diskError: this.#disks.error,
      imageEpoch: null,
      imageCompared: null,
      state: shipping.state,
      failover: survived?.failover ?? null,
      lastLoss: this.#lastLoss,
      fence: this.#fence,
    };
  }

  beat(): Beat {
    return beatOf(this.#vm, this.#o.phase.state, this.#term);
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#vm.ring.typeConsole(bytes);
  }

  typeGuard(bytes: Uint8Array): boolean {
    return this.#goesOn && this.#vm.ring.typeGuard(bytes);
  }

  reset(): boolean {
    return this.#goesOn && this.#vm.ring.reset();
  }

  get #goesOn(): boolean {
    return !this.#ending && !this.#stopping && this.#vmEnd === null;
  }

  /** Since power-on this backup replays; outputs wait for its acks. */
  protect(session: PeerSession): void {
    const { pace } = this.#followers.add(session);
    pace.bound(this.#vm.holds);
    this.#shipping.attach(session);
    this.#covers(session);
    this.#o.phase.set('protected', `backup ${session.remote}`);
  }

  /** Outputs wait for its acks from now on, and it may take over. */
  #covers(session: PeerSession): void {
    session.expectControl();
    if (this.#holds) this.#shipping.reopen();
    this.#runsAlone = this.#o.unprotected === 'run';
  }

  get #holds(): boolean {
    return this.#shipping.closedReason === HOLDS;
  }

  /** The fence is ours: outputs leave without acks, if they may. */
  startAlone(reason: string): void {
    if (!this.#runsAlone) this.#shipping.close(HOLDS);
    this.#shipping.detach(this.#term);
    this.#o.phase.set('needs-backup', this.#runsAlone ? reason : `${reason}; ${HOLDS}`);
    // It has ended meanwhile: its last outputs may leave now.
    if (this.#vmEnd !== null) void this.#shipping.flush().then(() => this.#endNow());
  }

  /** The backup is gone, which has replayed since power-on. */
  lost(session: PeerSession, loss: Loss): void {
    if (session === this.#lostSession) return; // its connection ends during our claim
    this.#lostSession = session;
    this.#followers.remove(session);
    this.#lastLoss = loss;
    this.#o.report('backup-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    if (!this.#ending) void this.#alone(session);
  }

  /** A heartbeat of a backup came. */
  heard(session: PeerSession, { state, position }: Pick<Beat, 'state' | 'position'>): void {
    const follower = this.#followers.of(session);
    if (follower !== null) this.#backupAt(follower, position);
    if (state === 'promote') this.#tryPromote();
  }

  /** Why this backup cannot join the running VM, or null when it can. */
  judge(hello: Hello): Refuse | null {
    return judgeHello(hello, this.#o.facts, { busy: this.#busyWith(), refusal: this.#unable() });
  }

  #busyWith(): string | null {
    const { first, pause } = this.#followers;
    if (first !== null) return `backup ${first.session.remote}`;
    if (this.#ending || this.#stopping || this.#vmEnd !== null) return 'stopping';
    return this.#shipping.detached ? pause : 'lost a backup; the fence is not decided';
  }

  #unable(): string | null {
    const { closedReason, logError } = this.#shipping;
    if (closedReason !== null && !this.#holds) return closedReason;
    return logError === null ? this.#vm.source.refusal : `its log ended: ${logError}`;
  }

  /** A backup joins the running VM. */
  admit(session: PeerSession, hello: Hello): SessionHandlers {
    const { phase, terms } = this.#o;
    const follower = this.#followers.add(session);
    const admission = new Admission({
      ...this.#o,
      session,
      shipping: this.#shipping,
      pace: follower.pace,
      terms: { ...terms, term: this.#term },
      guarded: () => {
        this.#followers.joined(follower);
        this.#covers(session);
        phase.set('protected', `backup ${session.remote}`);
      },
      failed: (why, pauseMs) => this.#notJoined(session, why, pauseMs),
      heard: (beat) => this.heard(session, beat),
      lost: (loss) => this.lost(session, loss),
    });
    follower.admission = admission;
    return admission.begin(hello);
  }

  /** Nobody was told that it may take over, so this side goes on as before. */
  #notJoined(session: PeerSession, why: string, pauseMs: number): void {
    this.#followers.notJoined(session, pauseMs);
    if (!this.#ending) this.#goOn(why);
  }

  /** Outputs leave by themselves again, if they may, and nothing bounds the guest. */
  #goOn(reason: string): void {
    if (this.#runsAlone) this.#vm.ring.detach();
    this.#letGo();
    this.startAlone(reason);
  }

  /** Nothing that a backup needs holds the guest any more. */
  #letGo(): void {
    this.#vm.holds.release('lag', 'join', 'handover');
  }

  /** Ends the VM on both sides (END record), or asks the guest to power off. */
  stop(options: { powerdown: boolean }): void {
    if (this.#ending) return;
    if (options.powerdown) {
      this.#o.report('powerdown', {});
      this.#vm.ring.powerdown();
      return;
    }
    if (this.#stopping) return;
    this.#stopping = true;
    this.#letGo();
    this.#vm.ring.stop();
    this.#after(STOP_TIMEOUT_MS, () => this.#vm.kill());
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string, code: 'failure' | 'fenced' = 'failure'): void {
    this.#vm.kill();
    this.#end({ ok: false, code, reason });
  }

  /**
   * Planned switch-over, a failed log of its own being no hindrance; or, of a side that waits for
   * a backup: it goes on without one.
   * @throws UnderstudyError not-running when there is no backup to hand over to
   */
  async promote(): Promise<void> {
    const [follower] = this.#followers.covering;
    const { phase } = this.#o;
    if (follower !== undefined) return this.#leaving.handOver(follower);
    if (!this.#holds) {
      const state = `the state is ${phase.state} (${phase.reason})`;
      throw new UnderstudyError('not-running', `no backup to hand over to: ${state}`);
    }
    this.#runsAlone = true;
    this.#shipping.reopen();
    this.#goOn('the operator lets it run without a backup');
  }

  #tryPromote(): void {
    this.promote().catch((error: unknown) => {
      this.#o.report('handover-refused', { reason: messageOf(error) });
    });
  }

  get #vmIdHex(): string {
    return this.#o.terms.vmId.toString('hex');
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#o.clock.after(ms, run));
  }

  /** Acks came. */
  #progress(): void {
    for (const follower of this.#followers.covering) {
      follower.pace.primaryAt(this.#vm.ring);
      follower.pace.cut(this.#vm.ring, this.#shipping);
      this.#backupAt(follower, this.#shipping.facts().executed);
    }
    this.#endWhenAcked();
  }

  #backupAt({ pace }: Follower, position: Position): void {
    // Detached: an ack of the backup that was lost may be told of late, and must not
    // bound a guest that runs alone by a backup that no longer moves.
    const alone = this.#shipping.detached;
    const free = alone || this.#ending || this.#stopping;
    pace.backupAt(position, free ? null : this.#vm.holds);
  }

  /** The backup is lost: win the fence, then go on without it. Until then outputs are held. */
  async #alone(session: PeerSession): Promise<void> {
    const { phase, clock } = this.#o;
    const why = this.#lastLoss === null ? 'unknown' : describeLoss(this.#lastLoss);
    phase.set('syncing', `lost the backup (${why}); outputs are held until the fence is won`);
    const from = clock.nowMs();
    // One of us is to have the fence: a backup that lives may, where this side cannot.
    const letGo = (): void => session.abandon(why);
    if (this.#leaving.sick !== null) letGo();
    const claim = await claimUnlessSick({
      ...this.#o,
      vmId: this.#vmIdHex,
      term: this.#term + 1,
      sick: () => this.#leaving.sick,
      cancelled: () => this.#ending,
      against: against(session, why),
      unreachable: (reason) => {
        letGo();
        phase.set('syncing', `lost the backup (${why}); outputs are held: ${reason}`);
      },
    });
    if (claim === null || this.#ending) return letGo();
    this.#fence = { ms: clock.nowMs() - from, result: claim.result };
    if (claim.result === 'lost') {
      // At once, before anything else: two live VMs is the one thing that must not be.
      this.#vm.kill();
      letGo();
      const held = `term ${claim.term} is held by ${describeHolder(claim.holder)}`;
      this.#end(this.#leaving.fenced(held));
      return;
    }
    letGo();
    this.#term = claim.term;
    this.#leaving.undo();
    this.#goOn(`lost the backup: ${why}`);
  }

  async #vmExited(exit: VmExit): Promise<void> {
    if (this.#ending) return;
    // A backup that does not read must not keep us; nor a timer of ours the process.
    const patience = new Promise<void>((resolve) => this.#after(LAST_ACKS_TIMEOUT_MS, resolve));
    await Promise.race([this.#shipping.flush(), patience]);
    if (this.#ending) return;
    if (exit.reason === 'ended') {
      this.#vmEnd = exit.message;
      this.#after(LAST_ACKS_TIMEOUT_MS, () => this.#endNow());
      this.#endWhenAcked();
      return;
    }
    if (this.#stopping) {
      this.#sayGoodbye('stop', 'the operator stopped it');
      this.#endWell('stopped by the operator (killed)');
      return;
    }
    // The backup has the log up to here and takes over: this side must not compete.
    this.#sayGoodbye(exit.reason === 'hung' ? 'qemu-hung' : 'qemu-died', exit.message);
    this.#end({ ok: false, code: 'qemu-died', reason: exit.message });
  }

  /** What the guest put out last waits for an ack, or, without a backup, for the fence. */
  #endWhenAcked(): void {
    if (this.#vmEnd === null) return;
    const { isEmpty, covering } = this.#followers;
    const needsAcks = isEmpty ? !this.#shipping.detached : covering.length > 0;
    if (!needsAcks || this.#shipping.facts().allAcked) this.#endNow();
  }

  #endNow(): void {
    if (this.#ending || this.#vmEnd === null) return;
    this.#o.generation.ended(this.#vmIdHex, this.#term);
    const reason = this.#stopping ? 'stopped by the operator' : this.#vmEnd;
    this.#sayGoodbye(this.#stopping ? 'stop' : 'guest-poweroff', reason);
    this.#endWell(reason);
  }

  #sayGoodbye(reason: string, message: string): void {
    const last = this.#shipping.facts().sequence - 1n;
    const lastSequence = last < 0n ? 0n : last;
    this.#followers.sayGoodbye({ reason, message, lastSequence, term: this.#term });
  }

  #endWell(reason: string): void {
    this.#end({ ok: true, code: 'stopped', reason });
  }

  #end(outcome: Outcome): void {
    if (!this.#ending) this.#o.ended(outcome);
  }

  close(): void {
    this.#ending = true;
    for (const timer of this.#timers) timer.cancel();
    this.#disks.stop();
    this.#leaving.stop();
    this.#shipping.stop();
    this.#followers.finish();
  }

  tearDown(): Promise<void> {
    return tearDown(this.#vm, this.#o.log);
  }
}
