// SPDX-License-Identifier: Apache-2.0
/**
 * `accel = "tcg-multi"`: QEMU's translator with a thread for each vCPU. Nothing is counted, so
 * a VM can be cut and go on from there, but not be executed again.
 *
 * The guest is offered no sleep (S3): it would end in the main loop, where no cut sees it. Nor has
 * it kvmvapic, whose option ROM makes one vCPU wait, in an instruction, for all others: a cut
 * that begins there would wait for the one and keep the others from running.
 */
import type { Accel } from './accel.ts';

const WITHOUT = ['PIIX4_PM.disable_s3=1', 'ICH9-LPC.disable_s3=1', 'apic.vapic=off'];
const GLOBALS = WITHOUT.flatMap((property) => ['-global', property]);

export const tcgMulti: Accel = {
  name: 'tcg-multi',
  isExact: false,
  args: (codeMib) => ['-accel', `tcg,thread=multi,tb-size=${codeMib}`, ...GLOBALS],
  exitlog: ['inputs=off'],
  lacks: 'history, replays, digests of CPU and devices',
};
