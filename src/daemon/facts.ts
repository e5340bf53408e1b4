// SPDX-License-Identifier: Apache-2.0
/**
 * What can be known of a daemon, each fact once: its name and unit, what it means, and where
 * it is read. `status`, `status --json` and the table in docs/runbook.md are made from it;
 * facts-words.ts has the lines for people.
 */
import type { Position } from '../base/position.ts';
import { positionFields } from '../base/position-json.ts';
import type { GuardFacts } from '../guard/guard.ts';
import type { StateFacts } from '../replica/ports.ts';
import type { ReplicaFacts } from '../replica/posture.ts';
import type { Replica } from '../replica/replica.ts';
import type { Rate } from './rate.ts';
import type { DaemonRole } from './state-dir.ts';

/** What a daemon knows beside its replica. */
export interface DaemonFacts {
  readonly name: string;
  readonly role: DaemonRole;
  readonly address: string;
  readonly arbiter: string;
  /** Why it could decide no claim; null: it could, or there is none. */
  readonly arbiterProblem: string | null;
  readonly arbiterAnswerMs: number | null;
  readonly durability: string;
  readonly protocol: string;
  readonly accel: { readonly name: string; readonly lacks: string | null };
  /** Whether it cuts epochs. */
  readonly cuts: boolean;
  readonly stateDir: string;
  readonly startedAt: string;
  /** When this side's certificate expires; null: the link is plaintext. */
  readonly certificateEndsMs: number | null;
  readonly consoleError: string | null;
  /** What is kept of the past; null: off. */
  readonly history: { readonly error: string | null } | null;
  /** What is known of the services in the guest; null: VM.toml has no guard. */
  readonly guard: GuardFacts | null;
}

export interface FactSources {
  readonly replica: Pick<Replica, 'phase' | 'facts'>;
  readonly daemon: DaemonFacts;
  readonly rate: Rate;
  readonly nowMs: number;
}

/** What a fact is read from: the replica is asked once for all of them. */
interface Read extends Omit<FactSources, 'replica'> {
  readonly phase: Replica['phase'];
  readonly replica: ReturnType<Replica['facts']>;
  readonly ring: ReturnType<NonNullable<ReplicaFacts['vm']>['ring']['snapshot']> | null;
}

interface Fact<T> {
  /** '' for what is not counted. */
  readonly unit: string;
  readonly help: string;
  readonly read: (from: Read) => T;
}

function fact<T>(unit: string, help: string, read: (from: Read) => T): Fact<T> {
  return { unit, help, read };
}

const FACTS = {
  name: fact('', 'the VM, as VM.toml names it', ({ daemon }) => daemon.name),
  role: fact(
    '',
    'how this daemon was started: `primary`, `backup` or `replica`',
    ({ daemon }) => daemon.role,
  ),
  pid: fact('', "the daemon's process", () => process.pid),
  state: fact('', 'see above', ({ phase }) => phase.state),
  reason: fact('', 'why it is in that state, for people', ({ phase }) => phase.reason),
  syncing_percent: fact(
    '%',
    "how far a backup is that joins this side's running VM; else null",
    ({ phase }) => phase.percent,
  ),
  term: fact(
    '',
    'grows at each take-over; the fence gives each to one side',
    ({ replica }) => replica.term,
  ),
  vm_id: fact('', 'this power-on', ({ replica }) => replica.vmId),
  address: fact(
    '',
    'where the side that leads listens, or is looked for',
    ({ daemon }) => daemon.address,
  ),
  peer: fact(
    '',
    'the other side; null while there is none',
    ({ replica }) => replica.peer?.remote ?? null,
  ),
  heartbeat_age_ms: fact(
    'ms',
    'since the last sign of life of the peer',
    ({ replica: { peer } }) => (peer === null ? null : round(peer.ageMs())),
  ),
  clock_skew_ms: fact(
    'ms',
    "the peer's time of day less ours, as heartbeats tell",
    ({ replica: { peer } }) =>
      peer === null || peer.clockSkewMs === null ? null : round(peer.clockSkewMs),
  ),
  guest_clock_behind_ms: fact(
    'ms',
    "how much less a live guest's time of day is than its host's; null: it is not live",
    ({ ring }) => (ring?.state === 'recording' ? round(Number(ring.clockBehindNs) / 1e6) : null),
  ),
  protocol: fact('', '`protocol` of `[replication]`', ({ daemon }) => daemon.protocol),
  accel: fact('', '`accel` of VM.toml', ({ daemon }) => daemon.accel.name),
  accel_lacks: fact(
    '',
    'what is not to be had with it; null: nothing',
    ({ daemon }) => daemon.accel.lacks,
  ),
  durability: fact('', '`durability` of `[replication]`', ({ daemon }) => daemon.durability),
  arbiter: fact('', '`arbiter` of `[replication]`, or `none`', ({ daemon }) => daemon.arbiter),
  arbiter_problem: fact(
    '',
    'why it could decide nothing if the other side were lost now, or null',
    ({ daemon }) => daemon.arbiterProblem,
  ),
  arbiter_answer_ms: fact(
    'ms',
    'how long it took to answer, asked a few seconds ago; null: it did not',
    ({ daemon: { arbiterAnswerMs: ms } }) => (ms === null ? null : round(ms)),
  ),
  link: fact('', '`tls`, or `plaintext`: without `[replication.tls]`', ({ daemon }) =>
    daemon.certificateEndsMs === null ? 'plaintext' : 'tls',
  ),
  certificate_ends_at: fact(
    '',
    "when this side's certificate expires, UTC; null: plaintext",
    ({ daemon: { certificateEndsMs: ms } }) => (ms === null ? null : new Date(ms).toISOString()),
  ),
  started_at: fact('', 'when the daemon started, UTC', ({ daemon }) => daemon.startedAt),
  state_dir: fact('', 'its state folder', ({ daemon }) => daemon.stateDir),
  qemu_pid: fact(
    '',
    "QEMU's process; null while there is none",
    ({ replica }) => replica.vm?.pid ?? null,
  ),
  qemu_state: fact(
    '',
    '`init`, `recording` (live), `replaying`, `waiting` (beside an image), `ended`, `diverged` or `failed`',
    ({ ring }) => ring?.state ?? null,
  ),
  epoch: fact('', 'as `sequence`; an older name', ({ replica }) => replica.sequence),
  sequence: fact('', 'last batch sealed, or received', ({ replica }) => replica.sequence),
  acked_sequence: fact(
    '',
    'last batch that the backup holds',
    ({ replica }) => replica.ackedSequence,
  ),
  position: fact('', 'where this VM is: `icount` in instructions, `vtime_ns`', ({ ring }) =>
    jsonPosition(ring?.position ?? null),
  ),
  backup_position: fact('', 'the same of the backup, as far as it has told', ({ replica }) =>
    jsonPosition(replica.backupPosition),
  ),
  lag_ms: fact('ms', 'how long ago the VM was where its backup is now', ({ replica }) =>
    replica.lagMs === null ? null : round(replica.lagMs),
  ),
  lag_instructions: fact(
    'instructions',
    'how far the backup is behind',
    ({ replica }) => replica.lagInstructions,
  ),
  throttled: fact(
    '',
    'whether the VM is slowed to keep the lag within `lag_ms_max`',
    ({ replica }) => replica.throttled,
  ),
  log_bytes_total: fact('bytes', 'of log, shipped and received', ({ replica }) => replica.logBytes),
  log_bytes_per_s: fact('bytes/s', 'the same, over the last seconds', ({ replica, rate, nowMs }) =>
    Math.round(rate.perSecond(nowMs, replica.logBytes)),
  ),
  outputs: fact('packets', 'that the guest has sent', ({ ring }) => ring?.outputs ?? null),
  outputs_released: fact(
    'packets',
    'of these, that left',
    ({ ring }) => ring?.outputsReleased ?? null,
  ),
  epochs_held: fact(
    'batches',
    'sealed, whose outputs wait for an ack (an older name)',
    ({ replica }) => replica.batchesHeld,
  ),
  cuts: fact(
    'epochs',
    'that were cut from the live VM; null, as what follows, for a protocol that ships the log',
    (from) => cutOf(from, (ring) => Number(ring.epochs)),
  ),
  cut_pages: fact('pages', 'that the guest had written in one of them, on average', (from) =>
    cutOf(from, (ring) => mean(ring.epochPages, ring.epochs)),
  ),
  cut_pause_ms: fact('ms', 'that the guest stood still for one of them, on average', (from) =>
    cutOf(from, (ring) => mean(ring.epochPauseNs, ring.epochs, 1e6)),
  ),
  cut_pause_p99_ms: fact('ms', 'that 99 of a hundred of these took at most', (from) =>
    cutOf(from, (ring) => (ring.epochs === 0n ? null : round(Number(ring.epochPauseNsP99) / 1e6))),
  ),
  cut_pause_max_ms: fact('ms', 'the longest of these', (from) =>
    cutOf(from, (ring) => (ring.epochs === 0n ? null : round(Number(ring.epochPauseNsMax) / 1e6))),
  ),
  epoch_interval_ms: fact(
    'ms',
    'from one cut to the next at most, as it is now; null: none is made, or no backup follows',
    ({ replica }) => (replica.cutInterval === null ? null : round(replica.cutInterval.everyMs)),
  ),
  epoch_interval_why: fact(
    '',
    '`asked`: as VM.toml says; longer for the guest, which stood still too much for cuts (`pause`), or for the link, which took too long for an epoch (`transfer`)',
    ({ replica }) => replica.cutInterval?.why ?? null,
  ),
  epoch_transfer_ms: fact(
    'ms',
    'that one of the last epochs took to come to the backup, on average',
    ({ replica }) => {
      const ms = replica.cutInterval?.transferMs ?? null;
      return ms === null ? null : round(ms);
    },
  ),
  cut_events: fact(
    '',
    'by kind, what of the live VM can end an epoch: `happened`, and `cuts` that were for it',
    (from) => cutOf(from, (ring) => jsonEvents(ring.events)),
  ),
  state_bytes_total: fact(
    'bytes',
    "of epochs' state, sent to a backup, or kept for one that copies the disks",
    (from) => stateOf(from, 'bytes'),
  ),
  memory_bytes_total: fact('bytes', 'of these, of guest memory', (from) =>
    stateOf(from, 'memoryBytes'),
  ),
  disk_bytes_total: fact('bytes', 'and of what the guest wrote to its disks', (from) =>
    stateOf(from, 'diskBytes'),
  ),
  memory_pages_total: fact('pages', 'of guest memory that were in them', (from) =>
    stateOf(from, 'memoryPages'),
  ),
  shadow_bytes: fact(
    'bytes',
    "of this host's memory, for pages that the backup is known to have",
    (from) => stateOf(from, 'shadowBytes'),
  ),
  disk_references: fact(
    'writes',
    'or parts of them, shipped as where in memory they lie (`disk = "io-log"`)',
    (from) => cutOf(from, (ring) => Number(ring.epochReferences)),
  ),
  disk_versions: fact(
    'pages',
    'that could not be, since the guest has changed them before the cut',
    (from) => cutOf(from, (ring) => Number(ring.epochVersions)),
  ),
  image_epoch: fact(
    '',
    "the last epoch in a backup's image: it would take over from there; null: none, or no image",
    ({ replica }) => replica.imageEpoch,
  ),
  image_compared: fact(
    'epochs',
    "of these, that were compared with the primary's digest and equal (`digest_every`)",
    ({ replica }) => replica.imageCompared,
  ),
  outputs_stopped: fact(
    '',
    'why no output leaves, or null',
    ({ replica }) => replica.outputsStopped,
  ),
  sick: fact(
    '',
    'why this side is not to be relied on: its disk or its courier stands still, or its disk or its log fails; null: it is well',
    ({ replica }) => replica.sick,
  ),
  segment_error: fact(
    '',
    'why the log could not be written, or null',
    ({ replica }) => replica.logError,
  ),
  disk_error: fact(
    '',
    'a disk of the live side that is full, or the last error that the guest was told of',
    ({ replica }) => replica.diskError?.text ?? null,
  ),
  disk_waits: fact(
    '',
    'whether the guest waits for room on that disk',
    ({ replica }) => replica.diskError?.waits ?? false,
  ),
  console_error: fact(
    '',
    'why `console.log` is incomplete, or null',
    ({ daemon }) => daemon.consoleError,
  ),
  history: fact('', '`off`, `on` or `given-up`', ({ daemon: { history } }) =>
    history === null
      ? ('off' as const)
      : history.error === null
        ? ('on' as const)
        : ('given-up' as const),
  ),
  history_error: fact(
    '',
    'why it was given up, or null',
    ({ daemon }) => daemon.history?.error ?? null,
  ),
  guard: fact(
    '',
    'of `[guard]`, or null: `agent` (`off`, `waiting`, `speaks`, `silent` or `floods`), `lines`, `malformed` and `dropped_bytes` of what it said, `services`, `probes`, `restarts` and `resets` by this side, `gave_up`',
    ({ daemon }) => daemon.guard,
  ),
  failover: fact(
    '',
    'how this side took over, or null: `reason`, `detected_at_ms`, and the ms of each step',
    ({ replica }) => replica.failover,
  ),
  backup_lost: fact(
    '',
    'how the last backup was lost, or null: `reason`, `detect_ms`, `fence_ms`, `fence`',
    ({ replica }) => jsonLoss(replica),
  ),
  last_refused: fact('', 'who was turned away last, and why', ({ replica }) => replica.lastRefused),
  refused: fact('', 'how many were turned away', ({ replica }) => replica.refused),
} as const satisfies Readonly<Record<string, Fact<unknown>>>;

export type DaemonStatus = {
  readonly [Name in keyof typeof FACTS]: ReturnType<(typeof FACTS)[Name]['read']>;
};

/** Every fact, as they are now. */
export function statusOf({ replica, ...sources }: FactSources): DaemonStatus {
  const facts = replica.facts();
  const from: Read = {
    ...sources,
    phase: replica.phase,
    replica: facts,
    ring: facts.vm?.ring.snapshot() ?? null,
  };
  const read = Object.entries(FACTS).map(([name, { read }]) => [name, read(from)]);
  return Object.fromEntries(read) as DaemonStatus;
}

/** The table in docs/runbook.md. */
export function factsTable(): string {
  const rows = Object.entries(FACTS).map(
    ([name, { unit, help }]) => `| \`${name}\` | ${unit} | ${help} |`,
  );
  return ['| fact | unit | |', '|---|---|---|', ...rows].join('\n');
}

function jsonPosition(position: Position | null) {
  return position === null ? null : positionFields(position);
}

/** Null where no epoch is cut. */
function cutOf<T>({ ring, daemon }: Read, read: (ring: NonNullable<Read['ring']>) => T): T | null {
  return ring === null || !daemon.cuts ? null : read(ring);
}

/** Null where no epoch is cut, and on the side that does not lead. */
function stateOf({ replica, daemon }: Read, name: keyof StateFacts): number | null {
  return replica.state === null || !daemon.cuts ? null : replica.state[name];
}

function mean(sum: bigint, count: bigint, unit = 1): number | null {
  return count === 0n ? null : round(Number(sum) / Number(count) / unit);
}

function jsonEvents(events: NonNullable<Read['ring']>['events']) {
  const counts = Object.entries(events).map(([name, { happened, cuts }]) => [
    name.toLowerCase(),
    { happened: Number(happened), cuts: Number(cuts) },
  ]);
  return Object.fromEntries(counts) as Record<string, { happened: number; cuts: number }>;
}

function jsonLoss({ lastLoss, fence }: ReplicaFacts) {
  if (lastLoss === null) return null;
  return {
    reason: lastLoss.reason,
    detect_ms: round(lastLoss.detectMs),
    fence_ms: fence === null ? null : round(fence.ms),
    fence: fence?.result ?? null,
  };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
