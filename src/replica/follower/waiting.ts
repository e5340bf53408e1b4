// SPDX-License-Identifier: Apache-2.0
/**
 * What all followers are: a QEMU that waits for its moment, with the log of one primary. What
 * it does meanwhile, and how it gets there, its kind knows (replaying.ts, image.ts).
 */
import { type Clock, sleep } from '../../base/clock.ts';
import { UnderstudyError } from '../../base/errors.ts';
import type { Origin } from '../../log/entrance.ts';
import { encodeAck, type Welcome } from '../../wire/messages.ts';
import type { PeerSession } from '../../wire/session.ts';
import { outcomeOfReplay } from '../outcome.ts';
import type { BatchLog, Receiving, Vm, VmState } from '../ports.ts';
import type { Understudy, UnderstudyEvents, UnderstudyOptions } from './understudy.ts';

export interface Kind {
  /** It is ready in this state. */
  readonly ready: VmState;
  /** All was received, and QEMU is about to be told to go live. */
  readonly handOver: (receiving: Receiving) => void;
  /** The log has its END: the primary's VM has. */
  readonly ended: (events: UnderstudyEvents) => void;
}

const READY_POLL_MS = 5;
const LIVE_POLL_MS = 1;
/** Longer than an instruction of the guest's; QEMU's watchdog ends one that hangs. */
const DRAIN_MS_MAX = 1500;
const READY_TIMEOUT_MS = 30_000;

export class Waiting implements Understudy {
  readonly vm: Vm;
  readonly log: BatchLog;
  readonly receiving: Receiving;
  readonly #term: number;
  readonly #clock: Clock;
  readonly #kind: Kind;
  readonly #goesOnAlone: boolean;

  private constructor(
    o: UnderstudyOptions,
    vm: Vm,
    log: BatchLog,
    receiving: Receiving,
    term: number,
    kind: Kind,
  ) {
    this.#clock = o.clock;
    this.#goesOnAlone = o.unprotected === 'run';
    this.#term = term;
    this.#kind = kind;
    this.vm = vm;
    this.log = log;
    this.receiving = receiving;
  }

  /** Starts QEMU. */
  static async start(
    kind: Kind,
    o: UnderstudyOptions,
    { welcome, session }: { readonly welcome: Welcome; readonly session: PeerSession },
    from: Origin | null,
    events: UnderstudyEvents,
  ): Promise<Waiting> {
    const log = o.openLog(welcome, from?.entrance.sequence ?? 0n);
    let vm: Vm;
    try {
      vm = await o.launch(welcome, from);
    } catch (error) {
      log.close();
      throw error;
    }
    const { vmId, term, durability } = welcome;
    const receiving = vm.receive({
      session,
      vmId,
      term,
      durability: durability === 'disk' ? 'disk' : 'memory',
      log,
      ...(from === null ? {} : { start: from.entrance }),
      first: () => events.first(),
      console: o.console,
      guard: o.guard,
      storeFailed: (reason) => events.storeFailed(reason),
      stuck: (what, message) => events.stuck(what, message),
      diverged: (reason) => events.exited({ ok: false, code: 'divergence', reason }),
      ended: () => kind.ended(events),
    });
    vm.onDisk((news) => {
      if (news.kind === 'stuck') events.stuck('disk', news.text);
    });
    vm.onExit((exit) => events.exited(outcomeOfReplay(exit)));
    return new Waiting(o, vm, log, receiving, term, kind);
  }

  async untilReady(cancelled: () => boolean): Promise<boolean> {
    const clock = this.#clock;
    const deadlineMs = clock.nowMs() + READY_TIMEOUT_MS;
    while (this.vm.ring.snapshot().state !== this.#kind.ready) {
      if (cancelled()) return false;
      if (clock.nowMs() > deadlineMs) {
        throw new UnderstudyError('qemu-hung', `QEMU did not start in ${READY_TIMEOUT_MS} ms`);
      }
      await sleep(clock, READY_POLL_MS);
    }
    return !cancelled();
  }

  readyFrame(durable: boolean): Buffer {
    const at = this.vm.ring.snapshot();
    return encodeAck({
      sequence: 0n,
      recordEnd: 0n,
      executed: at.position,
      sentAtNs: this.#clock.realtimeNs(),
      term: this.#term,
      durable,
      ready: true,
      batchChecksum: 0n,
      inPending: BigInt(at.inPending),
    });
  }

  async goLive(progress: (text: string) => void, cancelled: () => boolean) {
    const clock = this.#clock;
    progress('fence won: taking the rest of the log');
    while (!this.receiving.facts().empty) {
      await sleep(clock, LIVE_POLL_MS);
      if (cancelled()) return null;
    }
    this.#kind.handOver(this.receiving);
    this.vm.ring.goLive(this.#goesOnAlone);
    let drainedMs: number | null = null;
    let movedMs = clock.nowMs();
    let before = this.vm.ring.snapshot();
    for (;;) {
      const now = this.vm.ring.snapshot();
      if (now.inPending !== before.inPending || now.visits !== before.visits) {
        before = now;
        movedMs = clock.nowMs();
      } else if (clock.nowMs() - movedMs > DRAIN_MS_MAX) {
        progress(`fence won: taking the rest of the log has stood still for ${DRAIN_MS_MAX} ms`);
      }
      if (drainedMs === null && now.inPending === 0) drainedMs = clock.nowMs();
      if (now.state === 'recording') {
        const liveMs = liveTime(now.liveAtNs, clock.nowMs());
        return { drainedMs: Math.min(drainedMs ?? liveMs, liveMs), liveMs };
      }
      await sleep(clock, LIVE_POLL_MS);
      if (cancelled()) return null;
    }
  }
}

/** When QEMU says it went live, on our clock; `now` where it does not say. */
function liveTime(liveAtNs: bigint, nowMs: number): number {
  if (liveAtNs === 0n) return nowMs;
  return Math.min(nowMs, Number(liveAtNs) / 1e6);
}
