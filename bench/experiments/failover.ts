// SPDX-License-Identifier: Apache-2.0
/**
 * How long a client waits when a primary is killed: the demo, again and again, at moments
 * that its seed decides, by each protocol that is no other's comparison. Each kill is a row.
 */
import { type DemoOptions, runDemo } from '../../src/demo/demo.ts';
import { isFlawless } from '../../src/demo/summary.ts';
import type { ProtocolName } from '../../src/epochs/registry.ts';
import { keepingState } from '../run/state-env.ts';
import type { ExperimentKind } from './experiment.ts';
import { eachOf } from './measure.ts';

/** By each protocol. */
const KILLS = { quick: 1, full: 30 } as const;
const FIRST_SEED = 1000;
const PROTOCOLS = ['lockstep', 'remus', 'kemari'] as const satisfies readonly ProtocolName[];

const DEMO: Omit<DemoOptions, 'seed' | 'protocol'> = {
  fault: 'primary',
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
  columns: [
    'seed',
    'stall_ms',
    'detect_ms',
    'golive_ms',
    'drain_ms',
    'lag_before_ms',
    'lost',
    'protocol',
  ],
  seconds: { quick: 30, full: 600 },
  async measure({ scale, interrupted, row }) {
    const seeds = Array.from({ length: KILLS[scale] }, (_, at) => FIRST_SEED + at);
    // One after the other by turns: what the host does meanwhile, it does to all of them.
    const kills = seeds.flatMap((seed) => PROTOCOLS.map((protocol) => ({ seed, protocol })));
    const once = async (kill: (typeof kills)[number]): Promise<void> => {
      const result = await keepingState(() => runDemo({ ...DEMO, ...kill }, interrupted));
      const { stall_ms, detect_ms, golive_ms, drain_ms, lag_before_ms, lost } = result;
      const times = [stall_ms, detect_ms, golive_ms, drain_ms, lag_before_ms];
      row([kill.seed, ...times, lost, kill.protocol]);
      if (!isFlawless(result)) throw new Error(result.problem);
    };
    const name = ({ seed, protocol }: (typeof kills)[number]): string =>
      `${protocol}, seed ${seed}`;
    await eachOf(kills, interrupted, name, once);
  },
};
