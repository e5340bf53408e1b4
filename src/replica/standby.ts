// SPDX-License-Identifier: Apache-2.0
/** One stand-by: a VM in replay for one primary, from the welcome until it is lost. */

import { type Arbiter, describeHolder } from '../arbiter/arbiter.ts';
import type { Clock } from '../base/clock.ts';
import { sleep } from '../base/clock.ts';
import { UnderstudyError } from '../base/errors.ts';
import type { Origin } from '../log/entrance.ts';
import { encodeAck, type Welcome } from '../wire/messages.ts';
import type { PeerSession } from '../wire/session.ts';
import type { Outcome } from './phase.ts';
import type { BatchLog, Receiving, Vm } from './ports.ts';
import { verdictOf } from './verify.ts';

/** Everything that belongs to one VM id. */
export interface Standby {
  readonly welcome: Welcome;
  readonly session: PeerSession;
  readonly vm: Vm;
  readonly log: BatchLog;
  readonly receiving: Receiving;
}

export interface StandbyOptions {
  readonly clock: Clock;
  readonly arbiter: Arbiter;
  /** @param from null: power-on */
  readonly launch: (welcome: Welcome, from: Origin | null) => Promise<Vm>;
  /**
   * @param firstSequence of its first batch
   * @throws UnderstudyError disk-full, log-write
   */
  readonly openLog: (welcome: Welcome, firstSequence: bigint) => BatchLog;
  readonly console: (bytes: Buffer) => void;
}

export interface StandbyEvents {
  /** The first batch came: the replay has begun. */
  first(): void;
  storeFailed(reason: string): void;
  vmExited(standby: Standby, verdict: Outcome): void;
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
  from: Origin | null,
  events: StandbyEvents,
): Promise<Standby> {
  await checkArbiter(o.arbiter, welcome);
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
    storeFailed: (reason) => events.storeFailed(reason),
  });
  const standby: Standby = { welcome, session, vm, log, receiving };
  vm.onExit((exit) => events.vmExited(standby, verdictOf(exit)));
  return standby;
}

/** Both sides must see the same arbiter: it has to know this VM's primary. */
async function checkArbiter(arbiter: Arbiter, welcome: Welcome): Promise<void> {
  if (!arbiter.shared) return;
  const holder = await arbiter.holder(welcome.vmId.toString('hex'));
  if (holder !== null && 'unreachable' in holder) {
    throw new UnderstudyError('arbiter-unreachable', holder.unreachable);
  }
  if (holder === null || holder.term !== welcome.term) {
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

/** Says that QEMU waits for the log; acks of batches are the courier's. */
export function readyFrame(standby: Standby, clock: Clock, durable: boolean): Buffer {
  const at = standby.vm.ring.snapshot();
  return encodeAck({
    sequence: 0n,
    recordEnd: 0n,
    executed: at.position,
    sentAtNs: clock.realtimeNs(),
    term: standby.welcome.term,
    durable,
    ready: true,
    batchChecksum: 0n,
    inPending: BigInt(at.inPending),
  });
}
