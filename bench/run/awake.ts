// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps idle cores from sleeping while something is measured, by the kernel's PM QoS
 * (Documentation/power/pm_qos_interface.rst): as long as the file is open, no idle state
 * that takes longer to leave than was written to it is entered.
 *
 * A core that sleeps takes as long to wake as the host, or the hypervisor below it, sees fit:
 * on one such host a byte's way to another core and back took 42 to 56 us, twice that in
 * a busier hour, and 5 to 8 with its cores awake. Every round trip has several of these.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { messageOf } from '../../src/base/errors.ts';

const FILE = '/dev/cpu_dma_latency';
/** Native int32: microseconds. */
const ZERO_US = new Int32Array([0]);

export interface Awake {
  /** Why idle cores may sleep all the same; null: they do not. */
  readonly whyNot: string | null;
  close(): void;
}

/** Needs root. @param file for its test */
export function keepAwake(file = FILE): Awake {
  let fd: number;
  try {
    fd = openSync(file, 'r+'); // "w" would make a file where there is no such device
  } catch (error) {
    return { whyNot: messageOf(error), close: () => {} };
  }
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  try {
    writeSync(fd, ZERO_US);
    return { whyNot: null, close };
  } catch (error) {
    close();
    return { whyNot: messageOf(error), close };
  }
}
