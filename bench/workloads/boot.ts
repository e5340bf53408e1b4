// SPDX-License-Identifier: Apache-2.0
/** From the start of the system's first process to the guest's first word. */
import { emptyGuest } from './guest.ts';
import { ready, type Workload } from './workload.ts';

export const boot: Workload = {
  name: 'boot',
  title: 'Boot',
  figures: [{ name: 'boot', unit: 's', better: 'less' }],
  served: false,
  seconds: { quick: 2, full: 2 },
  prepare: () => emptyGuest('us.run=boot'),
  async measure(vm) {
    return { values: { boot: ((await ready(vm)) - vm.startedMs) / 1000 } };
  },
};
