// SPDX-License-Identifier: Apache-2.0
/** What `status` says about a daemon: one flat object, units in the names. */
import type { Position } from '../base/position.ts';
import type { Backup } from '../replica/backup.ts';
import type { FailoverTimes } from '../replica/failover.ts';
import type { DaemonState, Phase } from '../replica/phase.ts';
import type { RingSnapshot, ShipFacts, Shipping, Vm } from '../replica/ports.ts';
import type { Primary } from '../replica/primary.ts';
import type { Loss, PeerSession } from '../wire/session.ts';
import type { Rate } from './metrics.ts';

export interface DaemonFacts {
  readonly name: string;
  readonly vmId: string | null;
  /** Where the side that leads listens, or is looked for. */
  readonly address: string;
  readonly arbiter: string;
  readonly durability: string;
  readonly protocol: string;
  readonly stateDir: string;
  readonly startedAt: string;
  readonly consoleError: string | null;
  /** What is kept of the past; null: off. */
  readonly history: { readonly error: string | null } | null;
}

export interface DaemonStatus {
  readonly name: string;
  readonly role: 'primary' | 'backup';
  readonly pid: number;
  readonly state: DaemonState;
  readonly reason: string;
  /** While a backup joins this side's running VM; else null. */
  readonly syncing_percent: number | null;
  readonly term: number;
  readonly vm_id: string | null;
  readonly address: string;
  readonly peer: string | null;
  /** Since the last sign of life of the peer; null without one. */
  readonly heartbeat_age_ms: number | null;
  /** The peer's time of day less ours, as heartbeats tell; null without a peer. */
  readonly clock_skew_ms: number | null;
  /** Of a live VM: its time of day is so much less than this host's; null: not live. */
  readonly guest_clock_behind_ms: number | null;
  readonly protocol: string;
  readonly durability: string;
  readonly arbiter: string;
  readonly started_at: string;
  readonly state_dir: string;
  readonly qemu_pid: number | null;
  readonly qemu_state: RingSnapshot['state'] | null;
  /** Of the last batch sealed (or received). */
  readonly epoch: bigint | null;
  readonly sequence: bigint | null;
  readonly acked_sequence: bigint | null;
  readonly position: JsonPosition | null;
  readonly backup_position: JsonPosition | null;
  readonly lag_ms: number | null;
  readonly lag_instructions: bigint | null;
  /** The primary is being slowed because its backup is behind. */
  readonly throttled: boolean;
  readonly log_bytes_total: number;
  readonly log_bytes_per_s: number;
  /** Packets the guest has sent, and those of them that left. */
  readonly outputs: bigint | null;
  readonly outputs_released: bigint | null;
  /** Sealed and waiting for an ack. */
  readonly epochs_held: number;
  readonly outputs_stopped: string | null;
  readonly segment_error: string | null;
  /** Of the live side: a disk that is full, or the last error that the guest was told of. */
  readonly disk_error: string | null;
  /** The guest waits for room on that disk. */
  readonly disk_waits: boolean;
  readonly console_error: string | null;
  readonly history: 'off' | 'on' | 'given-up';
  readonly history_error: string | null;
  readonly failover: FailoverTimes | null;
  readonly backup_lost: JsonLoss | null;
  readonly last_refused: string | null;
}

interface JsonPosition {
  readonly icount: bigint;
  readonly vtime_ns: bigint;
}

interface JsonLoss {
  readonly reason: string;
  readonly detect_ms: number;
  readonly fence_ms: number | null;
  readonly fence: string | null;
}

export function primaryStatus(primary: Primary, daemon: DaemonFacts, rate: Rate): DaemonStatus {
  const facts = primary.facts();
  return {
    ...common(primary, daemon, facts.vm, facts.peer),
    ...leading(facts, rate, 0),
    role: 'primary',
    failover: null,
    last_refused: facts.lastRefused,
  };
}

type LeadFacts = Omit<ReturnType<Primary['facts']>, 'lastRefused'>;

/** Of the side whose VM is live, or will be powered on. @param before bytes of an earlier log */
function leading(facts: LeadFacts, rate: Rate, before: number) {
  const { gate, shipping, peer, lastLoss, fence } = facts;
  const alone = gate?.detached === true;
  const sequence = shipping === null ? null : shipping.sequence - 1n;
  const bytes = before + (shipping?.bytes ?? 0);
  return {
    term: facts.term,
    epoch: sequence,
    sequence,
    acked_sequence: shipping?.ackedSequence ?? null,
    backup_position: peer === null ? null : jsonPosition(facts.backupPosition),
    lag_ms: peer === null || alone ? null : round(facts.lag.ms),
    lag_instructions: peer === null || alone ? null : facts.lag.instructions,
    throttled: peer !== null && facts.lag.throttled,
    log_bytes_total: bytes,
    log_bytes_per_s: Math.round(rate.perSecond(facts.nowMs, bytes)),
    ...held(gate, shipping),
    disk_error: facts.diskError?.text ?? null,
    disk_waits: facts.diskError?.waits ?? false,
    backup_lost: lastLoss === null ? null : jsonLoss(lastLoss, fence),
  };
}

export function backupStatus(backup: Backup, daemon: DaemonFacts, rate: Rate): DaemonStatus {
  const facts = backup.facts();
  const { run, received, lead } = facts;
  const vm = run?.vm ?? null;
  const own = { ...daemon, vmId: run?.welcome.vmId.toString('hex') ?? null };
  const { failover, lastRefused } = facts;
  if (lead !== null) {
    return {
      ...common(backup, own, vm, lead.peer),
      ...leading(lead, rate, received?.bytes ?? 0),
      role: 'backup',
      failover,
      last_refused: lastRefused,
    };
  }
  const peer = run === null || run.session.over ? null : run.session;
  const sequence = received?.lastSequence ?? null;
  const bytes = received?.bytes ?? 0;
  const at = vm?.ring.snapshot().position ?? null;
  const behind = at === null ? 0n : facts.primaryPosition.icount - at.icount;
  return {
    ...common(backup, own, vm, peer),
    role: 'backup',
    term: facts.term,
    epoch: sequence,
    sequence,
    acked_sequence: received?.storedSequence ?? null,
    backup_position: at === null ? null : jsonPosition(at),
    lag_ms: null,
    lag_instructions: peer === null ? null : behind > 0n ? behind : 0n,
    throttled: false,
    log_bytes_total: bytes,
    log_bytes_per_s: Math.round(rate.perSecond(facts.nowMs, bytes)),
    ...held(null, null),
    disk_error: null,
    disk_waits: false,
    failover,
    backup_lost: null,
    last_refused: lastRefused,
  };
}

type Common = Pick<
  DaemonStatus,
  | 'name'
  | 'pid'
  | 'state'
  | 'reason'
  | 'syncing_percent'
  | 'vm_id'
  | 'address'
  | 'peer'
  | 'heartbeat_age_ms'
  | 'clock_skew_ms'
  | 'guest_clock_behind_ms'
  | 'protocol'
  | 'durability'
  | 'arbiter'
  | 'started_at'
  | 'state_dir'
  | 'qemu_pid'
  | 'qemu_state'
  | 'position'
  | 'outputs'
  | 'outputs_released'
  | 'console_error'
  | 'history'
  | 'history_error'
>;

function common(
  daemon: { readonly phase: Phase },
  facts: DaemonFacts,
  vm: Vm | null,
  peer: PeerSession | null,
): Common {
  const at = vm?.ring.snapshot() ?? null;
  return {
    name: facts.name,
    pid: process.pid,
    state: daemon.phase.state,
    reason: daemon.phase.reason,
    syncing_percent: daemon.phase.percent,
    vm_id: facts.vmId,
    address: facts.address,
    peer: peer?.remote ?? null,
    heartbeat_age_ms: peer === null ? null : round(peer.ageMs()),
    clock_skew_ms: peer === null || peer.clockSkewMs === null ? null : round(peer.clockSkewMs),
    guest_clock_behind_ms: at?.state === 'recording' ? round(Number(at.clockBehindNs) / 1e6) : null,
    protocol: facts.protocol,
    durability: facts.durability,
    arbiter: facts.arbiter,
    started_at: facts.startedAt,
    state_dir: facts.stateDir,
    qemu_pid: vm?.pid ?? null,
    qemu_state: at?.state ?? null,
    position: at === null ? null : jsonPosition(at.position),
    outputs: at?.outputs ?? null,
    outputs_released: at?.outputsReleased ?? null,
    console_error: facts.consoleError,
    history: facts.history === null ? 'off' : facts.history.error === null ? 'on' : 'given-up',
    history_error: facts.history?.error ?? null,
  };
}

function held(
  gate: Shipping | null,
  facts: ShipFacts | null,
): Pick<DaemonStatus, 'epochs_held' | 'outputs_stopped' | 'segment_error'> {
  return {
    epochs_held: facts?.held ?? 0,
    outputs_stopped: gate?.closedReason ?? null,
    segment_error: gate?.logError ?? null,
  };
}

function jsonPosition(position: Position): JsonPosition {
  return { icount: position.icount, vtime_ns: position.vtimeNs };
}

function jsonLoss(loss: Loss, fence: { ms: number; result: string } | null): JsonLoss {
  return {
    reason: loss.reason,
    detect_ms: round(loss.detectMs),
    fence_ms: fence === null ? null : round(fence.ms),
    fence: fence?.result ?? null,
  };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
