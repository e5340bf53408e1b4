// SPDX-License-Identifier: Apache-2.0
/** Debian's gcc compiles Debian's bzip2, from source to program, on the guest's disk. */
import { systemGuest } from './guest.ts';
import { partSeconds, ready, type Workload } from './workload.ts';

/** Targets of its Makefile. */
const TARGETS = { quick: 'crctable.o', full: 'bzip2' } as const;

export const compile: Workload = {
  name: 'compile',
  title: 'Compile (bzip2)',
  figures: [{ name: 'make', unit: 's', better: 'less' }],
  served: false,
  seconds: { quick: 6, full: 25 },
  async prepare(scale) {
    const { spec } = await systemGuest('compile', `us.run=compile us.args=${TARGETS[scale]}`);
    return spec;
  },
  async measure(vm) {
    await ready(vm);
    return { values: { make: await partSeconds(vm, 'compile') } };
  },
};
