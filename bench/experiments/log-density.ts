// SPDX-License-Identifier: Apache-2.0
/**
 * Log bytes per 1000 instructions, ours and QEMU's own: made of the runs, not measured
 * again. QEMU does not tell how many instructions it recorded; those that ours recorded of
 * the same workload in the same round stand for both.
 */
import type { Run } from '../results.ts';
import type { ExperimentKind } from './experiment.ts';
import { rounded } from './measure.ts';

const OURS = 'record';
const THEIRS = 'rr-record';

export const logDensity: ExperimentKind = {
  name: 'log-density',
  title: 'Log bytes per 1000 instructions',
  columns: ['workload', 'round', 'system', 'log_bytes', 'instructions', 'bytes_per_1000'],
  seconds: { quick: 0, full: 0 },
  async measure({ runs, row }) {
    let compared = 0;
    for (const ours of runs.filter(({ system, invalid }) => system === OURS && invalid === null)) {
      const same = (one: Run): boolean =>
        one.workload === ours.workload && one.round === ours.round && one.invalid === null;
      const theirs = runs.find((one) => one.system === THEIRS && same(one));
      const { instructions } = ours.facts;
      if (instructions === undefined) continue;
      for (const run of theirs === undefined ? [ours] : [ours, theirs]) {
        const bytes = run.facts.log_bytes;
        if (bytes === undefined) continue;
        const density = rounded((1000 * bytes) / instructions);
        row([run.workload, run.round, run.system, bytes, instructions, density]);
      }
      if (theirs !== undefined) compared += 1;
    }
    if (compared === 0) {
      throw new Error(`no workload ran on both ${OURS} and ${THEIRS} in one round, and counts`);
    }
  },
};
