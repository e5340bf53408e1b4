// SPDX-License-Identifier: Apache-2.0
/**
 * Looks at a protected VM while it is measured: how far its backup is behind, what its epochs
 * and the link between the two carry, and how long an epoch takes from its seal to its ack.
 * That time is by Little's law: the epochs that wait for an ack, on average, over the epochs
 * sealed in a second; nothing on the path is timed for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import type { RunningVm } from '../systems/system.ts';
import type { Part } from '../workloads/workload.ts';

const INTERVAL_MS = 50;
/** Facts of the VM's whole life that status has, the pauses of its epochs among them. */
const SINCE_POWER_ON = ['cut_pause_p50_ms', 'cut_pause_p99_ms', 'cut_pause_max_ms'];
/** Counters of status that are told by epoch, where status has them. */
const BY_EPOCH = {
  state_bytes_total: 'epoch_state_bytes_mean',
  memory_bytes_total: 'epoch_memory_bytes_mean',
  disk_bytes_total: 'epoch_disk_bytes_mean',
  disk_references: 'epoch_disk_references_mean',
  disk_versions: 'epoch_disk_versions_mean',
} as const;

export interface Sample {
  readonly atMs: number;
  readonly status: DaemonStatus;
  /** Null, or not there: it is not known. */
  readonly linkBytes?: number | null;
}

type Facts = Record<string, number>;

export class Sampler {
  readonly #samples: Sample[] = [];
  #over = false;
  readonly #done: Promise<void>;

  constructor(vm: RunningVm) {
    this.#done = vm.status === undefined ? Promise.resolve() : this.#run(vm);
  }

  async #run(vm: RunningVm): Promise<void> {
    while (!this.#over) {
      const status = await vm.status?.('primary');
      const linkBytes = vm.linkBytes?.() ?? null;
      if (status?.state === 'protected') {
        this.#samples.push({ atMs: performance.now(), status, linkBytes });
      }
      await sleep(INTERVAL_MS);
    }
  }

  /**
   * Stops looking.
   * @returns facts of a run, and of its parts as "PART: FACT"; none of a system that is not
   * protected
   */
  async stop(parts: Readonly<Record<string, Part>> = {}): Promise<Facts> {
    this.#over = true;
    await this.#done;
    const ofParts = Object.entries(parts).flatMap(([name, { fromMs, toMs }]) => {
      const during = this.#samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
      return Object.entries(factsBetween(during)).map(([fact, value]) => [
        `${name}: ${fact}`,
        value,
      ]);
    });
    return { ...factsOf(this.#samples), ...Object.fromEntries(ofParts) };
  }
}

/** Facts of a whole run. Exported for its test. */
export function factsOf(samples: readonly Sample[]): Facts {
  const last = samples.at(-1);
  const between = factsBetween(samples);
  if (last === undefined || Object.keys(between).length === 0) return {};
  const lags = samples.flatMap(({ status }) => status.lag_ms ?? []).sort((a, b) => a - b);
  const at = (share: number): number => lags[Math.ceil(lags.length * share) - 1] ?? Number.NaN;
  const life = SINCE_POWER_ON.flatMap((name) => {
    const value = numberIn(last.status, name);
    return value === null ? [] : [[name, value] as const];
  });
  return {
    ...(lags.length === 0 ? {} : { lag_p50_ms: at(0.5), lag_p99_ms: at(0.99), lag_max_ms: at(1) }),
    ...between,
    ...Object.fromEntries(life),
  };
}

/** What happened from the first of them to the last; {}: they tell nothing. */
function factsBetween(samples: readonly Sample[]): Facts {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return {};
  const seconds = (last.atMs - first.atMs) / 1000;
  // A log is sealed where an epoch ends, and where it is long: only the first are epochs.
  const epochsOf = ({ status }: Sample): number => status.cuts ?? Number(status.sequence ?? 0);
  const epochs = epochsOf(last) - epochsOf(first);
  const outputs = Number(last.status.outputs ?? 0) - Number(first.status.outputs ?? 0);
  const bytes = last.status.log_bytes_total - first.status.log_bytes_total;
  const held = samples.reduce((sum, { status }) => sum + status.epochs_held, 0) / samples.length;
  const link = (last.linkBytes ?? Number.NaN) - (first.linkBytes ?? Number.NaN);
  const hasLink = Number.isFinite(link);
  return {
    epochs,
    epochs_per_s: epochs / seconds,
    outputs,
    log_bytes_per_s: bytes / seconds,
    ...(hasLink ? { link_bytes_per_s: link / seconds } : {}),
    ...(epochs === 0
      ? {}
      : { epoch_bytes_mean: bytes / epochs, epoch_ack_mean_us: (1e6 * held * seconds) / epochs }),
    ...(epochs === 0 || !hasLink ? {} : { epoch_link_bytes_mean: link / epochs }),
    ...cutFacts(first.status, last.status, seconds),
  };
}

/** Under a protocol by checkpoint: what its epochs had, and for what they ended, by kinds that there were. */
function cutFacts(first: DaemonStatus, last: DaemonStatus, seconds: number): Facts {
  const cuts = (last.cuts ?? 0) - (first.cuts ?? 0);
  if (cuts === 0) return {};
  // Status has means since power-on.
  const mean = (name: 'cut_pages' | 'cut_pause_ms'): number =>
    ((last[name] ?? 0) * (last.cuts ?? 0) - (first[name] ?? 0) * (first.cuts ?? 0)) / cuts;
  const before = first.cut_events ?? {};
  const kinds = Object.entries(last.cut_events ?? {}).flatMap(([kind, now]) => {
    const then = before[kind] ?? { happened: 0, cuts: 0 };
    if (now.happened === then.happened) return [];
    return [
      [`${kind}_per_s`, (now.happened - then.happened) / seconds],
      [`${kind}_cuts_per_s`, (now.cuts - then.cuts) / seconds],
    ] as const;
  });
  const counted = Object.entries(BY_EPOCH).flatMap(([name, fact]) => {
    const [from, to] = [numberIn(first, name), numberIn(last, name)];
    return from === null || to === null ? [] : [[fact, (to - from) / cuts] as const];
  });
  return {
    ...Object.fromEntries(counted),
    cut_pages_mean: mean('cut_pages'),
    cut_pause_mean_ms: mean('cut_pause_ms'),
    ...Object.fromEntries(kinds),
  };
}

/** A fact that not every version's status has; null: this one's does not, or not now. */
function numberIn(status: DaemonStatus, name: string): number | null {
  const value = (status as unknown as Readonly<Record<string, unknown>>)[name];
  return typeof value === 'number' ? value : null;
}
