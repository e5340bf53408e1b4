// SPDX-License-Identifier: Apache-2.0
/**
 * `accel = "tcg"`: QEMU's translator, counting instructions. One thread executes all vCPUs
 * (docs/guests.md), and all that the guest does is a function of its log.
 */
import type { Accel } from './accel.ts';

export const tcg: Accel = {
  name: 'tcg',
  isExact: true,
  args: (codeMib) => ['-accel', `tcg,thread=single,tb-size=${codeMib}`, '-icount', 'shift=1'],
  exitlog: [],
  lacks: null,
};
