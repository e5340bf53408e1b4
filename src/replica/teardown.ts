// SPDX-License-Identifier: Apache-2.0
/** The end of a side: no QEMU is left, the log is closed. Never rejects. */
import type { BatchLog, Vm } from './ports.ts';

export async function tearDown(vm: Vm | null, log: BatchLog | null): Promise<void> {
  if (vm !== null) {
    vm.kill();
    await vm.exited;
    await vm.close();
  }
  log?.close();
}
