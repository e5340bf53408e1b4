// SPDX-License-Identifier: Apache-2.0
/**
 * How long a client waits when a primary is killed: the demo, again and again, at moments
 * that its seed decides. Each kill is a row.
 */
import { type DemoOptions, runDemo } from '../../src/demo/demo.ts';
import { isFlawless } from '../../src/demo/summary.ts';
import { keepingState } from '../run/state-env.ts';
import type { ExperimentKind } from './experiment.ts';
import { eachOf } from './measure.ts';

const KILLS = { quick: 2, full: 30 } as const;
const FIRST_SEED = 1000;

const DEMO: Omit<DemoOptions, 'seed'> = {
  fault: 'primary',
  protocol: 'lockstep',
  secondsBefore: 1,
  faultAfterMs: null,
  secondsAfter: 1,
  ratePerS: 300,
  window: 8,
  keep: null,
  say: () => {},
};

export const failover: ExperimentKind = {
  name: 'failover',
  title: 'Failover: kills of the primary under load',
  columns: ['seed', 'stall_ms', 'detect_ms', 'golive_ms', 'drain_ms', 'lag_before_ms', 'lost'],
  seconds: { quick: 20, full: 200 },
  async measure({ scale, interrupted, row }) {
    const seeds = Array.from({ length: KILLS[scale] }, (_, at) => FIRST_SEED + at);
    const once = async (seed: number): Promise<void> => {
      const result = await keepingState(() => runDemo({ ...DEMO, seed }, interrupted));
      const { stall_ms, detect_ms, golive_ms, drain_ms, lag_before_ms, lost } = result;
      row([seed, stall_ms, detect_ms, golive_ms, drain_ms, lag_before_ms, lost]);
      if (!isFlawless(result)) throw new Error(result.problem);
    };
    await eachOf(seeds, interrupted, (seed) => `seed ${seed}`, once);
  },
};
