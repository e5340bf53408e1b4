// SPDX-License-Identifier: Apache-2.0
/**
 * The primary's state machine.
 *
 *     starting ──► syncing ──► protected ──► (backup lost: fence) ──► needs-backup
 *        listen      hello,       batches         outputs held            runs alone
 *                    both QEMUs
 *
 * and from everywhere to stopped. One rule decides every doubt: outputs leave
 * only with an ack that covers them, or after the fence is won.
 */
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { Position } from '../base/position.ts';
import { type Outcome, Phase } from '../daemon/phase.ts';
import type { Shipping, Timer, Vm, VmExit } from '../daemon/ports.ts';
import { tearDown } from '../daemon/teardown.ts';
import { FRAME } from '../log/frame.ts';
import { claimUntilDecided } from '../replay/claim.ts';
import { describeHolder } from '../replay/fence.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import { welcomeOf } from '../wire/hello.ts';
import { decodeAck, encodeWelcome, type Hello, type Refuse } from '../wire/messages.ts';
import { type Frame, frameName } from '../wire/parser.ts';
import {
  beatOf,
  describeLoss,
  type Loss,
  type PeerSession,
  type SessionHandlers,
} from '../wire/session.ts';
import { Greeter, judgeHello } from './greet.ts';
import { bringToRest } from './handover.ts';
import { Pace } from './pace.ts';
import type { PrimaryOptions } from './primary-options.ts';

const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const LAST_ACKS_TIMEOUT_MS = 5_000;
const HANDOVER_TIMEOUT_MS = 10_000;
const FENCE_RETRY_MS = 250;

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
  #shipping: Shipping | null = null;
  #term = 1;
  #ending = false;
  /** The operator's stop, once asked for. */
  #stopping = false;
  #handover: { ownClose: boolean } | null = null;
  /** Why the guest ended by itself, once it has. */
  #vmEnd: string | null = null;
  #lastRefused: string | null = null;
  #lastLoss: Loss | null = null;
  #fence: { ms: number; result: string } | null = null;
  readonly #pace: Pace;

  constructor(options: PrimaryOptions) {
    this.#o = options;
    this.#pace = new Pace(options.protocol.lag, options.clock);
    this.phase = new Phase(options.report, 'starting');
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#greeter = new Greeter({
      clock: options.clock,
      judge: (hello) => this.#judge(hello),
      accepted: (session, hello) => this.#accepted(session, hello),
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
    const claim = await this.#o.arbiter.claim(this.#vmIdHex, 1, this.#o.claimant);
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
    return this.#term;
  }

  get vmIdHex(): string {
    return this.#vmIdHex;
  }

  /** The facts behind `status`; see daemon/status.ts. */
  facts() {
    const now = this.#o.clock.nowMs();
    return {
      nowMs: now,
      term: this.#term,
      vm: this.#vm,
      gate: this.#shipping,
      shipping: this.#shipping?.facts() ?? null,
      peer: this.#peer,
      lag: this.#pace.view(now),
      backupPosition: this.#pace.backupPosition,
      lastLoss: this.#lastLoss,
      lastRefused: this.#lastRefused,
      fence: this.#fence,
    };
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#vm?.ring.typeConsole(bytes) ?? false;
  }

  /** Ends the VM on both sides (END record), or asks the guest to power off. */
  stop(options: { powerdown: boolean }): void {
    if (this.#ending) return;
    if (options.powerdown && this.#vm !== null) {
      this.#o.report('powerdown', {});
      this.#vm.ring.powerdown();
      return;
    }
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#vm === null) {
      this.#endWell('stopped by the operator');
      return;
    }
    this.#vm.ring.setIcountMax(null);
    this.#vm.ring.stop();
    this.#after(STOP_TIMEOUT_MS, () => this.#vm?.kill());
  }

  /** No ceremony: the second Ctrl-C. */
  abort(reason: string): void {
    this.#vm?.kill();
    this.#end({ ok: false, code: 'failure', reason });
  }

  /**
   * Planned switch-over: the VM is brought to rest, its last log shipped, and the
   * backup asked to take the fence. Losing the fence is what stops this side;
   * winning it (the backup died meanwhile) lets it go on.
   * @throws UnderstudyError not-running when there is no backup to hand over to
   */
  async promote(): Promise<void> {
    const shipping = this.#shipping;
    const vm = this.#vm;
    const peer = this.#peer;
    if (shipping === null || vm === null || peer === null || this.phase.state !== 'protected') {
      throw new UnderstudyError(
        'not-running',
        `no backup to hand over to: the state is ${this.phase.state} (${this.phase.reason})`,
      );
    }
    if (this.#handover !== null) return;
    this.#handover = { ownClose: shipping.closedReason === null };
    this.#o.report('handover', { to: peer.remote });
    shipping.close('handing over to the backup');
    await bringToRest(vm, this.#o.clock);
    await shipping.flush();
    if (this.#peer !== peer) return; // lost meanwhile: the fence decides
    this.#sayGoodbye('handover', 'the operator asked for a switch-over');
    this.#after(HANDOVER_TIMEOUT_MS, () => {
      if (this.#peer !== peer) return;
      peer.abandon('the backup did not take over');
      this.#lost({
        reason: `the backup did not take over within ${HANDOVER_TIMEOUT_MS} ms`,
        code: 'peer-timeout',
        detectMs: HANDOVER_TIMEOUT_MS,
        goodbye: null,
      });
    });
  }

  get #vmIdHex(): string {
    return this.#o.vmId.toString('hex');
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(this.#o.clock.after(ms, run));
  }

  #judge(hello: Hello): Refuse | null {
    const busy =
      this.#peer !== null
        ? `backup ${this.#peer.remote}`
        : this.#ending || this.#stopping
          ? 'stopping'
          : null;
    return judgeHello(hello, this.#o.facts, { busy, running: this.#vm !== null });
  }

  #accepted(session: PeerSession, hello: Hello): SessionHandlers {
    const o = this.#o;
    this.#peer = session;
    this.phase.set('syncing', `backup ${hello.host} (${session.remote}) is starting its VM`);
    session.send(encodeWelcome(welcomeOf(o.facts, { ...o, term: this.#term })));
    session.startHeartbeats({ intervalMs: o.heartbeatMs, missed: o.heartbeatMissed }, () =>
      beatOf(this.#vm, this.phase.state, this.#term),
    );
    this.#after(READY_TIMEOUT_MS, () => {
      if (this.#peer !== session || this.#vm !== null) return;
      session.abandon('not ready');
      this.#waitAgain(`the backup was not ready within ${READY_TIMEOUT_MS} ms`);
    });
    return {
      frame: (frame) => this.#frame(session, frame),
      heartbeat: (beat) => {
        this.#backupAt(beat.position);
        if (beat.state === 'promote') {
          this.promote().catch((error: unknown) =>
            o.report('handover-refused', { reason: messageOf(error) }),
          );
        }
      },
      goodbye: (goodbye) => o.report('backup-goodbye', { ...goodbye }),
      lost: (loss) => this.#lost(loss),
      drained: () => {},
    };
  }

  #frame(session: PeerSession, frame: Frame): void {
    if (frame.type !== FRAME.ACK) {
      throw new UnderstudyError('peer-protocol', `unexpected ${frameName(frame.type)} of a backup`);
    }
    // Before power-on; from then on acks go to the courier.
    if (!decodeAck(frame).ready) {
      throw new UnderstudyError('peer-protocol', 'an ack came before any batch was sent');
    }
    if (this.#vm === null) void this.#launch(session);
  }

  /** Acks came. */
  #progress(): void {
    const { vm, shipping } = { vm: this.#vm, shipping: this.#shipping };
    if (vm === null || shipping === null) return;
    this.#pace.primaryAt(vm.ring);
    this.#backupAt(shipping.facts().executed);
    this.#endWhenAcked();
  }

  #backupAt(position: Position): void {
    // Detached: an ack of the backup that was lost may be told of late, and must not
    // bound a guest that runs alone by a backup that no longer moves.
    const alone = this.#shipping?.detached === true;
    const free = alone || this.#ending || this.#stopping || this.#handover !== null;
    this.#pace.backupAt(position, this.#vm === null || free ? null : this.#vm.ring);
  }

  /** The backup's QEMU waits for the log: power on. */
  async #launch(session: PeerSession): Promise<void> {
    const o = this.#o;
    let vm: Vm;
    try {
      vm = await o.launch();
    } catch (error) {
      this.#sayGoodbye('failed', messageOf(error));
      this.#end({ ok: false, code: 'failure', reason: messageOf(error) });
      return;
    }
    if (this.#ending) {
      vm.kill();
      return;
    }
    this.#vm = vm;
    const shipping = vm.ship({
      policy: o.protocol.seal,
      vmId: o.vmId,
      term: this.#term,
      durability: o.durability,
      log: o.log,
      console: o.console,
      logFailed: (reason) => this.#logFailed(reason),
      progress: () => this.#progress(),
    });
    this.#shipping = shipping;
    vm.onExit((exit) => void this.#vmExited(exit));
    if (session.over) {
      // Lost while QEMU started: it has run without a backup, so the fence decides.
      void this.#alone();
      return;
    }
    this.#pace.bound(vm.ring);
    shipping.attach(session);
    this.phase.set('protected', `backup ${session.remote}`);
  }

  #logFailed(reason: string): void {
    if (this.#shipping?.detached === true) {
      this.phase.set(this.phase.state, `${this.phase.reason}; the log ended: ${reason}`);
    } else {
      this.phase.set('syncing', `outputs are stopped: the log cannot be written: ${reason}`);
    }
  }

  #waitAgain(reason: string): void {
    this.#peer = null;
    this.phase.set('starting', `${reason}; waiting for a backup`);
  }

  #lost(loss: Loss): void {
    this.#peer = null;
    this.#lastLoss = loss;
    this.#o.report('backup-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    if (this.#ending) return;
    const why = describeLoss(loss);
    if (this.#vm === null) {
      this.#waitAgain(`lost the backup before power-on: ${why}`);
      return;
    }
    void this.#alone();
  }

  /** The backup is lost: win the fence, then go on without it. Until then outputs are held. */
  async #alone(): Promise<void> {
    const why = this.#lastLoss === null ? 'unknown' : describeLoss(this.#lastLoss);
    this.phase.set('syncing', `lost the backup (${why}); outputs are held until the fence is won`);
    const from = this.#o.clock.nowMs();
    const claim = await claimUntilDecided({
      ...this.#o,
      vmId: this.#vmIdHex,
      term: this.#term + 1,
      retryMs: FENCE_RETRY_MS,
      unreachable: (reason) =>
        this.phase.set('syncing', `lost the backup (${why}); outputs are held: ${reason}`),
      cancelled: () => this.#ending,
    });
    if (claim === null || this.#ending) return;
    this.#fence = { ms: this.#o.clock.nowMs() - from, result: claim.result };
    if (claim.result === 'lost') {
      // At once, before anything else: two live VMs is the one thing that must not be.
      this.#vm?.kill();
      const held = `term ${claim.term} is held by ${describeHolder(claim.holder)}`;
      if (this.#handover !== null) this.#endWell(`handed over: ${held}`);
      else this.#end({ ok: false, code: 'fenced', reason: `fenced: ${held}` });
      return;
    }
    this.#term = claim.term;
    this.#runAlone(`lost the backup: ${why}`);
  }

  #runAlone(reason: string): void {
    const { vm, shipping } = { vm: this.#vm, shipping: this.#shipping };
    if (vm === null || shipping === null) return;
    if (this.#handover?.ownClose === true) shipping.reopen();
    this.#handover = null;
    if (shipping.closedReason !== null) {
      this.phase.set('needs-backup', `outputs are stopped: ${shipping.closedReason}`);
      return;
    }
    vm.ring.detach();
    if (!this.#stopping) vm.ring.setIcountMax(null);
    shipping.detach(this.#term);
    this.phase.set('needs-backup', reason);
  }

  async #vmExited(exit: VmExit): Promise<void> {
    if (this.#ending) return;
    // A backup that does not read must not keep us; nor a timer of ours the process.
    const patience = new Promise<void>((resolve) => this.#after(LAST_ACKS_TIMEOUT_MS, resolve));
    await Promise.race([this.#shipping?.flush(), patience]);
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

  #endWhenAcked(): void {
    if (this.#vmEnd === null) return;
    if (this.#peer === null || this.#shipping?.facts().allAcked === true) this.#endNow();
  }

  #endNow(): void {
    if (this.#ending || this.#vmEnd === null) return;
    const reason = this.#stopping ? 'stopped by the operator' : this.#vmEnd;
    this.#sayGoodbye(this.#stopping ? 'stop' : 'guest-poweroff', reason);
    this.#endWell(reason);
  }

  #sayGoodbye(reason: string, message: string): void {
    const lastSequence = (this.#shipping?.facts().sequence ?? 0n) - 1n;
    this.#peer?.sayGoodbye({
      reason,
      message,
      lastSequence: lastSequence < 0n ? 0n : lastSequence,
      term: this.#term,
    });
  }

  #endWell(reason: string): void {
    this.#end({ ok: true, code: 'stopped', reason });
  }

  #end(outcome: Outcome): void {
    if (this.#ending) return;
    this.#ending = true;
    for (const timer of this.#timers) timer.cancel();
    this.#greeter.close();
    this.#shipping?.stop();
    this.#peer?.finish();
    this.#peer = null;
    this.phase.set('stopped', outcome.reason);
    void tearDown(this.#vm, this.#o.log).then(() => this.#finish(outcome));
  }
}
