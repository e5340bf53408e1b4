// SPDX-License-Identifier: Apache-2.0
/**
 * What a run of the harness leaves: one JSON file, `results.json`, from which every
 * table, figure and report is made again without measuring anything.
 *
 * Rates are by the host's wall-clock, measured from outside the guest. Ratios are not in
 * here: a reader makes them, of runs of one workload in one round (src: bench/stats.ts).
 */

/** Where and of what it was measured. */
export interface HostFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly kernel: string;
  readonly os: string;
  readonly node: string;
  /** By system name, such as `qemu-system-x86_64 10.0.3`; ours with its build id. */
  readonly qemu: Readonly<Record<string, string>>;
  readonly commit: string;
  /** The tree had changes that were not committed. */
  readonly dirty: boolean;
}

export interface SystemFacts {
  /** In order of columns: `plain`, `icount`, `rr-record`, `rr-replay`, `colo`, `record`, `lockstep`, … */
  readonly name: string;
  readonly title: string;
  /** What it is compared with, by name; null: it is the baseline. */
  readonly baseline: string | null;
  /** Its runs are verified (replay or image, and disks), and count only then. */
  readonly verified: boolean;
  /** The same with another number, in a figure of its own: by name, what it is in the others. */
  readonly variantOf?: string;
}

export interface FigureFacts {
  /** Unique within its workload, such as `TCP_STREAM`. */
  readonly name: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
}

export interface WorkloadFacts {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly FigureFacts[];
}

/** What was checked of a run of a verified system; null: it does not apply there. */
export interface Verification {
  /** Its baseline ran in the same round. */
  readonly baseline: boolean;
  /** The recording, or the log that both sides hold, replays with equal digests. */
  readonly replay: boolean | null;
  /** The backup's image of memory was the primary's wherever that made a digest. */
  readonly image?: boolean;
  /** Both sides' disk images are the same bytes at the end. */
  readonly disks: boolean | null;
}

export interface Run {
  readonly workload: string;
  readonly system: string;
  /** From 0; runs of one round are neighbours in time. */
  readonly round: number;
  readonly started_at: string;
  readonly seconds: number;
  /** By figure name. Absent where this system has none (replay has no rate of packets). */
  readonly values: Readonly<Record<string, number>>;
  /** What is not compared but plotted: `log_bytes`, `instructions`, `lag_p99_ms`, … */
  readonly facts: Readonly<Record<string, number>>;
  readonly verification: Verification | null;
  /** Why it counts for nothing, in one sentence; null: it counts. */
  readonly invalid: string | null;
}

/** A cell that has no run, and why: no cell of a report is empty without a reason. */
export interface Absent {
  readonly workload: string;
  readonly system: string;
  readonly why: string;
}

/** Measured apart from the workloads, by figure: failover times, shaped links, traces. */
export interface Experiment {
  /** `failover`, `bandwidth`, `dirty-pages`, … */
  readonly name: string;
  readonly title: string;
  /** Column names with units, such as `stall_ms`. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (number | string | null)[])[];
  /** Why it was not measured, or not whole; null: it was. */
  readonly why_not: string | null;
}

export interface BenchResults {
  readonly format: 1;
  /** Sortable and unique: date, time, commit. */
  readonly id: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly started_at: string;
  readonly seconds: number;
  /** False: it was interrupted, or something ended it; what is here was measured all the same. */
  readonly complete: boolean;
  readonly host: HostFacts;
  readonly systems: readonly SystemFacts[];
  readonly workloads: readonly WorkloadFacts[];
  readonly runs: readonly Run[];
  readonly absent: readonly Absent[];
  readonly experiments: readonly Experiment[];
}
