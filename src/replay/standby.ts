// SPDX-License-Identifier: Apache-2.0
/** One stand-by: a VM in replay for one primary, from the welcome until it is lost. */
import { UnderstudyError } from '../base/errors.ts';
import type { Outcome } from '../daemon/phase.ts';
import type { BatchLog, BatchReader, Clock, FrameFacts, Vm } from '../daemon/ports.ts';
import { sleep } from '../daemon/ports.ts';
import { encodeAck, type Welcome } from '../wire/messages.ts';
import type { PeerSession } from '../wire/session.ts';
import { ReplayFeed } from './feed.ts';
import { type Arbiter, describeHolder } from './fence.ts';
import { Receiver } from './receive.ts';
import { verdictOf } from './verify.ts';

/** Everything that belongs to one VM id. */
export interface Standby {
  readonly welcome: Welcome;
  readonly session: PeerSession;
  readonly vm: Vm;
  readonly log: BatchLog;
  readonly receiver: Receiver;
  readonly feed: ReplayFeed;
}

export interface StandbyOptions {
  readonly clock: Clock;
  readonly arbiter: Arbiter;
  readonly reader: BatchReader;
  readonly launch: (welcome: Welcome) => Promise<Vm>;
  readonly openLog: (welcome: Welcome) => Promise<BatchLog>;
}

export interface StandbyEvents {
  /** A verified batch, already on its way into the replay. */
  received(bytes: Buffer, facts: FrameFacts): void;
  /** The log up to here is stored: the promise can be made. */
  stored(facts: FrameFacts): void;
  storeFailed(reason: string): void;
  vmExited(standby: Standby, verdict: Outcome): void;
  notified(standby: Standby): void;
}

const READY_POLL_MS = 5;
const READY_TIMEOUT_MS = 30_000;

/**
 * Starts QEMU in replay, with its log and everything between it and the primary.
 * @throws UnderstudyError arbiter-unreachable, and what launching throws; nothing is left then
 */
export async function startStandby(
  o: StandbyOptions,
  welcome: Welcome,
  session: PeerSession,
  events: StandbyEvents,
): Promise<Standby> {
  await checkArbiter(o.arbiter, welcome);
  const log = await o.openLog(welcome);
  let vm: Vm;
  try {
    vm = await o.launch(welcome);
  } catch (error) {
    await log.close();
    throw error;
  }
  const feed = new ReplayFeed({
    ring: vm.ring,
    pressure: (on) => (on ? session.pause() : session.resume()),
  });
  const receiver = new Receiver({
    clock: o.clock,
    reader: o.reader,
    log,
    vmId: welcome.vmId,
    term: welcome.term,
    received: (bytes, facts) => {
      feed.push(bytes);
      events.received(bytes, facts);
    },
    ack: (facts) => events.stored(facts),
    failed: (reason) => events.storeFailed(reason),
  });
  const standby: Standby = { welcome, session, vm, log, receiver, feed };
  vm.onExit((exit) => events.vmExited(standby, verdictOf(exit)));
  vm.ring.onNotify(() => events.notified(standby));
  return standby;
}

/** Both sides must see the same arbiter: it has to know this VM's primary. */
async function checkArbiter(arbiter: Arbiter, welcome: Welcome): Promise<void> {
  if (arbiter.name === 'none') return;
  const holder = await arbiter.holder(welcome.vmId.toString('hex'));
  if (holder !== null && 'unreachable' in holder) {
    throw new UnderstudyError('arbiter-unreachable', holder.unreachable);
  }
  if (holder === null || holder.term !== welcome.term || holder.role !== 'primary') {
    throw new UnderstudyError(
      'arbiter-unreachable',
      `the arbiter ${arbiter.name} does not know this VM's primary (it says: ` +
        `${describeHolder(holder)}): both sides must use the same shared folder`,
    );
  }
}

/**
 * Waits until QEMU is ready for the log.
 * @returns false when `cancelled` came first
 * @throws UnderstudyError qemu-hung
 */
export async function untilReady(
  { vm }: Standby,
  clock: Clock,
  cancelled: () => boolean,
): Promise<boolean> {
  const deadlineMs = clock.nowMs() + READY_TIMEOUT_MS;
  while (vm.ring.snapshot().state !== 'replaying') {
    if (cancelled()) return false;
    if (clock.nowMs() > deadlineMs) {
      throw new UnderstudyError('qemu-hung', `QEMU did not start in ${READY_TIMEOUT_MS} ms`);
    }
    await sleep(clock, READY_POLL_MS);
  }
  return !cancelled();
}

/** @param facts the last batch stored; null: the ack of readiness */
export function ackFrame(
  standby: Standby,
  clock: Clock,
  facts: FrameFacts | null,
  durable: boolean,
): Buffer {
  const at = standby.vm.ring.snapshot();
  return encodeAck({
    sequence: facts?.sequence ?? 0n,
    recordEnd: facts?.recordEnd ?? 0n,
    executed: at.position,
    sentAtNs: clock.realtimeNs(),
    term: standby.welcome.term,
    durable,
    ready: facts === null,
    batchChecksum: facts?.checksum ?? 0n,
    inPending: BigInt(at.inPending),
  });
}
