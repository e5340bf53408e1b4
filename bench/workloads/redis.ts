// SPDX-License-Identifier: Apache-2.0
/** Redis in the guest, without persistence, and its own benchmark on the host. */
import { join } from 'node:path';
import type { RunningVm } from '../systems/system.ts';
import { systemGuest } from './guest.ts';
import { beside, dismiss, ready, type Scale, type Workload } from './workload.ts';

const REQUESTS = { quick: 2000, full: 16_000 } as const;
const CLIENTS = 16;
const TIMEOUT_MS = 180_000;

/** Set by prepare: where redis-benchmark is. */
let host = '';

export const redis: Workload = {
  name: 'redis',
  title: 'Redis',
  figures: [
    { name: 'SET', unit: 'requests/s', better: 'more' },
    { name: 'GET', unit: 'requests/s', better: 'more' },
  ],
  served: true,
  seconds: { quick: 2, full: 6 },
  async prepare() {
    const made = await systemGuest('services', 'us.run=redis');
    host = made.host;
    return made.spec;
  },
  async measure(vm, scale) {
    await ready(vm);
    const values = rates(await benchmark(vm, scale));
    await dismiss(vm);
    return { values };
  },
};

function benchmark(vm: RunningVm, scale: Scale): Promise<string> {
  const words = ['-h', vm.guestAddress, '-t', 'set,get', '-n', String(REQUESTS[scale])];
  const program = join(host, 'redis-benchmark');
  return beside(vm, [program, ...words, '-c', String(CLIENTS), '--csv'], TIMEOUT_MS);
}

/** Rates in its CSV, each after a quoted name. @throws Error when one is missing */
export function rates(csv: string): Record<string, number> {
  const values: Record<string, number> = {};
  for (const [, name = '', rate] of csv.matchAll(/^"(SET|GET)","([\d.]+)"/gm)) {
    values[name] = Number(rate);
  }
  if (!('SET' in values && 'GET' in values)) throw new Error(`redis-benchmark said: ${csv}`);
  return values;
}
