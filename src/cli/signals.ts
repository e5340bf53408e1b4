// SPDX-License-Identifier: Apache-2.0
/** SIGINT, SIGTERM and SIGHUP: the first asks to end in order, the second insists. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface SignalHandler {
  close(): void;
}

/** @param onSignal told how many have come, from 1 */
export function onSignals(onSignal: (count: number) => void): SignalHandler {
  let count = 0;
  const handle = (): void => {
    count += 1;
    onSignal(count);
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return {
    close() {
      for (const signal of SIGNALS) process.off(signal, handle);
    },
  };
}
