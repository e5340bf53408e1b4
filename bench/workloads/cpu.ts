// SPDX-License-Identifier: Apache-2.0
/** A guest that only computes: MD5 of zeros, nothing in, nothing out. */
import { emptyGuest } from './guest.ts';
import { partOf, ready, secondsOf, type Workload } from './workload.ts';

const MIB = { quick: 48, full: 96 } as const;

export const cpu: Workload = {
  name: 'cpu',
  title: 'CPU-bound',
  figures: [{ name: 'MD5', unit: 's', better: 'less' }],
  served: false,
  seconds: { quick: 3, full: 5 },
  prepare: (scale) => emptyGuest(`us.run=cpu us.args=${MIB[scale]}`),
  async measure(vm) {
    await ready(vm);
    const part = await partOf(vm, 'cpu');
    return { values: { MD5: secondsOf(part) }, parts: { MD5: part } };
  },
};
