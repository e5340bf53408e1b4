// SPDX-License-Identifier: Apache-2.0
/**
 * Debian's gcc compiles sources of Debian's bzip2 with its own flags, on the guest's disk. All of
 * it takes a minute on plain TCG, and ten systems in four rounds more than an hour.
 */
import { systemGuest } from './guest.ts';
import { partOf, ready, secondsOf, type Workload } from './workload.ts';

/** Targets of its Makefile. */
const TARGETS = { quick: 'crctable.o', full: 'crctable.o,huffman.o' } as const;

export const compile: Workload = {
  name: 'compile',
  title: 'Compile (of bzip2)',
  figures: [{ name: 'make', unit: 's', better: 'less' }],
  served: false,
  seconds: { quick: 2, full: 6 },
  async prepare(scale) {
    const { spec } = await systemGuest('compile', `us.run=compile us.args=${TARGETS[scale]}`);
    return spec;
  },
  async measure(vm) {
    await ready(vm);
    const part = await partOf(vm, 'compile');
    return { values: { make: secondsOf(part) }, parts: { make: part } };
  },
};
