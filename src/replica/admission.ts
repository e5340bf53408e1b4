// SPDX-License-Identifier: Apache-2.0
/**
 * A new backup joins a running VM: this side of it, in the order of its steps.
 *
 *     what the backup has ─► disks, checkpoint ─► its QEMU is up ─► it catches up
 *                         ─► outputs wait for acks again ─► "you may take over"
 *
 * The VM runs on, and its outputs leave without acks, until the backup has come up to
 * it. Then outputs are held; once the backup holds the log of everything that has
 * left, it is told so, and only from then on may it take over: until then its loss
 * costs nothing but the join, and needs no fence.
 */

import { type Clock, sleep } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { comparePoints, distance, type Instructions, POWER_ON } from '../base/position.ts';
import { CatchUp } from '../epochs/catch-up.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Start } from '../log/entrance.ts';
import { FRAME } from '../log/frame.ts';
import { type Terms, type VmFacts, welcomeOf } from '../wire/hello.ts';
import { BLOCK_BYTES, decodeBlocks, encodeProtected, encodeStart } from '../wire/joining.ts';
import { decodeAck, encodeWelcome, type Heartbeat, type Hello } from '../wire/messages.ts';
import { type Frame, unexpected } from '../wire/parser.ts';
import {
  describeLoss,
  isSick,
  type Loss,
  type PeerSession,
  type SessionHandlers,
} from '../wire/session.ts';
import { beatOf } from './beat.ts';
import type { Pace } from './pace.ts';
import type { Phase } from './phase.ts';
import type { GivenState, Report, Shipping, Vm } from './ports.ts';
import { lossBecause } from './sickness.ts';

export interface AdmissionOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly phase: Phase;
  readonly session: PeerSession;
  readonly vm: Vm;
  readonly shipping: Shipping;
  readonly pace: Pace;
  readonly facts: VmFacts;
  readonly protocol: Protocol;
  readonly terms: Terms;
  /** Outputs wait for its acks; called before it is told that it may take over. */
  readonly guarded: () => void;
  /**
   * It will not join; outputs may be held already. Not after `guarded`.
   * @param pauseMs how long no other is to try, for the guest's sake
   */
  readonly failed: (why: string, pauseMs: number) => void;
  /** A heartbeat of a backup that may take over. */
  readonly heard: (beat: Heartbeat) => void;
  readonly lost: (loss: Loss) => void;
}

const POLL_MS = 10;
/** Short, because held outputs wait for it. */
const HOLD_POLL_MS = 1;
const HOLD_MS_MAX = 2000;
/** A megabyte over a link of half a megabit per second takes half as long. */
const TRANSFER_MS_MAX = 30_000;
const TRANSFER_POLL_MS = 1000;
/** In all, for a backup that reads too slowly; then none may try for a while. */
const STANDS_MS_MAX = 2000;
const SLOW_PAUSE_MS = 30_000;
/** Share of copying in the way from nothing to protected. */
const COPY_SHARE = 0.9;

/** The guest had to wait for it. */
class TooSlow extends UnderstudyError {}

export class Admission {
  readonly #o: AdmissionOptions;
  readonly #have: BigUint64Array[];
  #missing: bigint;
  #over = false;
  /** Wakes what waits for the peer. */
  #wake: () => void = () => {};
  readonly #giving = new AbortController();
  #ready = false;
  #guarded = false;
  #name = '';
  /** The phase's reason before. */
  #was = '';

  constructor(options: AdmissionOptions) {
    this.#o = options;
    const { disks } = options.facts;
    this.#have = disks.map(({ bytes }) => new BigUint64Array(Number(blocksOf(bytes))));
    this.#missing = disks.reduce((sum, { bytes }) => sum + blocksOf(bytes), 0n);
  }

  /** Welcomes it, and sees to everything. @returns who handles the session from now on */
  begin(hello: Hello): SessionHandlers {
    const { session, facts, terms, phase, report, vm } = this.#o;
    this.#name = `backup ${hello.host} (${session.remote}) joins`;
    this.#was = phase.reason;
    this.#progress(0, 'it says what it has');
    session.send(encodeWelcome({ ...welcomeOf(facts, terms), settings: { join: 'running' } }));
    session.startHeartbeats({ intervalMs: terms.heartbeatMs, missed: terms.heartbeatMissed }, () =>
      beatOf(vm, phase.state, terms.term),
    );
    void this.#play();
    return {
      frame: (frame) => this.#frame(frame),
      heartbeat: (beat) => {
        if (this.#guarded) this.#o.heard(beat);
      },
      goodbye: (goodbye) => {
        report('backup-goodbye', { ...goodbye });
        if (!isSick(goodbye)) return;
        session.abandon(goodbye.reason);
        this.#lost(lossBecause(goodbye.message, goodbye));
      },
      lost: (loss) => this.#lost(loss),
      drained: () => {},
    };
  }

  async #play(): Promise<void> {
    const { session, terms } = this.#o;
    try {
      await this.#run();
    } catch (error) {
      if (this.#over || this.#guarded) return;
      const message = messageOf(error);
      session.sayGoodbye({ reason: 'failed', message, lastSequence: 0n, term: terms.term });
      session.finish();
      this.cancel();
      const pauseMs = error instanceof TooSlow ? SLOW_PAUSE_MS : 0;
      this.#o.failed(`a backup could not join: ${message}`, pauseMs);
    }
  }

  #lost(loss: Loss): void {
    if (this.#guarded) {
      this.#o.lost(loss);
      return;
    }
    this.#o.report('backup-lost', { reason: loss.reason, detect_ms: loss.detectMs });
    this.cancel();
    this.#o.failed(`a backup that joined was lost: ${describeLoss(loss)}`, 0);
  }

  /** A checkpoint that was asked for comes, also when nobody waits for it any more. */
  #progress(percent: number, doing: string): void {
    if (this.#over) return;
    this.#o.phase.progress(percent, `${this.#name}: ${doing}; ${this.#was}`);
  }

  /** @throws UnderstudyError peer-protocol */
  #frame(frame: Frame): void {
    if (this.#guarded) throw unexpected(frame, 'a backup');
    if (frame.type === FRAME.BLOCKS) {
      const { disk, first, hashes } = decodeBlocks(frame);
      const have = this.#have[disk];
      if (have === undefined || first + BigInt(hashes.length) > BigInt(have.length)) {
        throw new UnderstudyError('peer-protocol', 'it told of blocks that no disk has');
      }
      have.set(hashes, Number(first));
      this.#missing -= BigInt(hashes.length);
    } else if (frame.type === FRAME.ACK && decodeAck(frame).ready) {
      this.#ready = true;
    } else {
      throw unexpected(frame, 'a backup that joins');
    }
    this.#wake();
  }

  /** The peer is lost, or we end: nothing more is done. */
  cancel(): void {
    this.#over = true;
    this.#giving.abort();
    this.#wake();
  }

  /** @throws UnderstudyError what makes this join impossible; the VM is unharmed */
  async #run(): Promise<void> {
    const { clock, session, shipping, vm, terms } = this.#o;
    const fromMs = clock.nowMs();
    if (!(await this.#until(() => this.#missing <= 0n))) return;
    const given = await this.#give();
    if (given === null || this.#over) return;
    session.send(encodeStart(given));
    this.#progress(100 * COPY_SHARE, "waiting for the backup's QEMU");
    if (!(await this.#until(() => this.#ready))) return;
    shipping.attach(session, given.start.entrance);
    const isHere = this.#o.protocol.cut === null ? this.#caughtUp() : this.#imaged(given.start);
    if (!(await isHere)) return;
    const holdFromMs = clock.nowMs();
    const sequence = await this.#hold();
    if (sequence === null) return;
    // Its log may have ended meanwhile: then this VM is not protected, whatever was acknowledged.
    const { closedReason } = shipping;
    if (closedReason !== null) throw new UnderstudyError('log-write', closedReason);
    this.#guarded = true;
    this.#o.guarded();
    this.#o.pace.bound(vm.holds);
    session.send(encodeProtected({ sequence, term: terms.term }));
    this.#o.report('joined', {
      seconds: (clock.nowMs() - fromMs) / 1000,
      pause_ms: given.pauseMs,
      outputs_held_ms: clock.nowMs() - holdFromMs,
    });
  }

  /**
   * Its state goes there. A transfer in which nothing moves is over: a disk hangs, on either side.
   * @throws UnderstudyError peer-timeout; what giving throws
   */
  async #give(): Promise<GivenState | null> {
    const { clock, session, vm } = this.#o;
    let movedMs = clock.nowMs();
    let copies = false;
    let isOver = false;
    const stands = async (): Promise<null> => {
      while (!isOver) {
        await sleep(clock, TRANSFER_POLL_MS);
        if (isOver || !copies || clock.nowMs() - movedMs <= TRANSFER_MS_MAX) continue;
        throw new UnderstudyError(
          'peer-timeout',
          `nothing of its state has moved for ${TRANSFER_MS_MAX} ms`,
        );
      }
      return null;
    };
    const moved = (percent: number, doing: string): void => {
      movedMs = clock.nowMs();
      copies = doing.startsWith('copying');
      this.#progress(percent * COPY_SHARE, doing);
    };
    const giving = vm.source.give(session, this.#have, moved, this.#giving.signal);
    try {
      return await Promise.race([giving, stands()]);
    } finally {
      isOver = true;
    }
  }

  /**
   * Until the backup has the first whole epoch.
   * @throws TooSlow
   */
  async #imaged({ entrance }: Start): Promise<boolean> {
    const { clock, shipping, vm } = this.#o;
    let stoodMs = 0;
    let lookedMs = clock.nowMs();
    while (!this.#over && shipping.facts().ackedSequence < entrance.sequence) {
      const nowMs = clock.nowMs();
      if (vm.ring.snapshot().stateIsFull) stoodMs += nowMs - lookedMs;
      lookedMs = nowMs;
      if (stoodMs > STANDS_MS_MAX) {
        throw new TooSlow(
          'peer-timeout',
          `it reads more slowly than the guest writes, which has waited for it for ${STANDS_MS_MAX} ms`,
        );
      }
      this.#progress(100 * COPY_SHARE, 'copying memory');
      await sleep(clock, POLL_MS);
    }
    return !this.#over;
  }

  /** Until the backup executes what the VM executed less than half a lag bound ago. */
  async #caughtUp(): Promise<boolean> {
    const { clock, shipping, vm, pace, protocol } = this.#o;
    const catchUp = new CatchUp(clock.nowMs());
    const from = vm.ring.snapshot().position.point;
    let behindAtFirst: Instructions | null = null;
    while (!this.#over) {
      const nowMs = clock.nowMs();
      const { executed, catchingUp } = shipping.facts();
      pace.primaryAt(vm.ring);
      pace.backupAt(executed, null);
      catchUp.backupAt({ atMs: nowMs, point: executed.point });
      const here = vm.ring.snapshot().position.point;
      const isNear =
        comparePoints(executed.point, from) >= 0 &&
        pace.view(nowMs).ms <= protocol.pace.lagMsMax / 2;
      if (!catchingUp && isNear) break;
      const bound = catchUp.boundAt(nowMs, here);
      if (bound !== null) vm.holds.hold('join', bound);
      if (comparePoints(executed.point, POWER_ON.point) > 0) {
        const behind = distance(executed.point, here);
        behindAtFirst ??= behind;
        const done = behindAtFirst === 0n ? 1 : 1 - Number(behind) / Number(behindAtFirst);
        const percent = 100 * (COPY_SHARE + (1 - COPY_SHARE) * Math.max(0, done));
        this.#progress(percent, 'it replays what was executed meanwhile');
      }
      await sleep(clock, POLL_MS);
    }
    if (!this.#over) vm.holds.release('join');
    return !this.#over;
  }

  /** Outputs wait from here on. @returns the last batch of before; null: cancelled */
  async #hold(): Promise<bigint | null> {
    const { clock, shipping, vm } = this.#o;
    const fromMs = clock.nowMs();
    if (shipping.logError !== null) {
      throw new UnderstudyError('log-write', `its log ended: ${shipping.logError}`);
    }
    // QEMU first: until the gate follows it lets all go at once that QEMU holds.
    vm.ring.undetach();
    shipping.protect();
    await shipping.flush();
    const last = shipping.facts().sequence - 1n;
    while (!this.#over && shipping.facts().ackedSequence < last) {
      if (clock.nowMs() - fromMs > HOLD_MS_MAX) {
        throw new UnderstudyError(
          'peer-timeout',
          `the backup did not acknowledge batch ${last} within ${HOLD_MS_MAX} ms`,
        );
      }
      await sleep(clock, HOLD_POLL_MS);
    }
    return this.#over ? null : last;
  }

  /** @returns false when cancelled */
  async #until(done: () => boolean): Promise<boolean> {
    while (!this.#over && !done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return !this.#over;
  }
}

function blocksOf(bytes: bigint): bigint {
  return (bytes + BigInt(BLOCK_BYTES) - 1n) / BigInt(BLOCK_BYTES);
}
