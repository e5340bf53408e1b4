// SPDX-License-Identifier: Apache-2.0
/**
 * `accel = "tcg-multi"`: QEMU's translator with a thread for each vCPU. Nothing is counted, so
 * a VM can be cut and go on from there, but not be executed again.
 *
 * The guest is offered no sleep (S3): it would end in the main loop, where no cut sees it.
 */
import type { Accel } from './accel.ts';

const NO_SLEEP = ['PIIX4_PM', 'ICH9-LPC'].flatMap((bridge) => [
  '-global',
  `${bridge}.disable_s3=1`,
]);

export const tcgMulti: Accel = {
  name: 'tcg-multi',
  isExact: false,
  args: (codeMib) => ['-accel', `tcg,thread=multi,tb-size=${codeMib}`, ...NO_SLEEP],
  exitlog: ['inputs=off'],
  lacks: 'history, replays, digests of CPU and devices',
};
