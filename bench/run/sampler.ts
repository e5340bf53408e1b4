// SPDX-License-Identifier: Apache-2.0
/**
 * Looks at a protected VM while it is measured: how far its backup is behind, and how long
 * an epoch takes from its seal to its ack. That time is by Little's law: the epochs that
 * wait for an ack, on average, over the epochs sealed in a second; nothing on the path is
 * timed for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import type { RunningVm } from '../systems/system.ts';

const INTERVAL_MS = 50;

interface Sample {
  readonly atMs: number;
  readonly status: DaemonStatus;
}

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
      if (status?.state === 'protected') this.#samples.push({ atMs: performance.now(), status });
      await sleep(INTERVAL_MS);
    }
  }

  /** Stops looking. @returns facts of a run; none of a system that is not protected */
  async stop(): Promise<Record<string, number>> {
    this.#over = true;
    await this.#done;
    return factsOf(this.#samples);
  }
}

/** Exported for its test. */
export function factsOf(samples: readonly Sample[]): Record<string, number> {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return {};
  const seconds = (last.atMs - first.atMs) / 1000;
  const lags = samples.flatMap(({ status }) => status.lag_ms ?? []).sort((a, b) => a - b);
  const at = (share: number): number => lags[Math.ceil(lags.length * share) - 1] ?? Number.NaN;
  const epochs = Number(last.status.sequence ?? 0) - Number(first.status.sequence ?? 0);
  const outputs = Number(last.status.outputs ?? 0) - Number(first.status.outputs ?? 0);
  const bytes = last.status.log_bytes_total - first.status.log_bytes_total;
  const held = samples.reduce((sum, { status }) => sum + status.epochs_held, 0) / samples.length;
  return {
    ...(lags.length === 0 ? {} : { lag_p50_ms: at(0.5), lag_p99_ms: at(0.99), lag_max_ms: at(1) }),
    epochs,
    epochs_per_s: epochs / seconds,
    outputs,
    log_bytes_per_s: bytes / seconds,
    ...(epochs === 0
      ? {}
      : { epoch_bytes_mean: bytes / epochs, epoch_ack_mean_us: (1e6 * held * seconds) / epochs }),
  };
}
