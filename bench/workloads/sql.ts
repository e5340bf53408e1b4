// SPDX-License-Identifier: Apache-2.0
/**
 * PostgreSQL in the guest, every commit synced to its disk, and pgbench's TPC-B-like
 * transactions from the host.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/base/errors.ts';
import type { RunningVm } from '../systems/system.ts';
import { systemGuest } from './guest.ts';
import { beside, dismiss, ready, type Workload } from './workload.ts';

const SECONDS = { quick: 2, full: 3 } as const;
const CLIENTS = 4;
const MARGIN_MS = 60_000;
const STARTING_MAX_MS = 30_000;

let host = '';

export const sql: Workload = {
  name: 'sql',
  title: 'PostgreSQL (pgbench)',
  figures: [{ name: 'TPC-B', unit: 'trans/s', better: 'more' }],
  served: true,
  seconds: { quick: 4, full: 5 },
  async prepare() {
    const made = await systemGuest('services', 'us.run=sql');
    host = made.host;
    return made.spec;
  },
  async measure(vm, scale) {
    await ready(vm);
    await answers(vm);
    const seconds = SECONDS[scale];
    const load = ['-n', '-T', String(seconds), '-c', String(CLIENTS)];
    const words = ['-h', vm.guestAddress, '-U', 'postgres', ...load, 'postgres'];
    const said = await beside(vm, [join(host, 'pgbench'), ...words], seconds * 1000 + MARGIN_MS);
    const value = transactions(said);
    await dismiss(vm);
    return value;
  },
};

/** It listens before it is done with starting: one that asks too early is turned away. */
async function answers(vm: RunningVm): Promise<void> {
  const one = ['-n', '-S', '-c', '1', '-t', '1'];
  const words = ['-h', vm.guestAddress, '-U', 'postgres', ...one, 'postgres'];
  const untilMs = performance.now() + STARTING_MAX_MS;
  for (;;) {
    try {
      await beside(vm, [join(host, 'pgbench'), ...words], STARTING_MAX_MS);
      return;
    } catch (error) {
      const isStarting = /is starting up/.test(messageOf(error));
      if (!isStarting || performance.now() > untilMs) throw error;
      await sleep(200);
    }
  }
}

/** Figures in pgbench's report. @throws Error without a rate */
export function transactions(said: string): {
  values: Record<string, number>;
  facts: Record<string, number>;
} {
  const rate = /^tps = ([\d.]+)/m.exec(said)?.[1];
  const latency = /^latency average = ([\d.]+) ms/m.exec(said)?.[1];
  if (rate === undefined) throw new Error(`pgbench said: ${said}`);
  return {
    values: { 'TPC-B': Number(rate) },
    facts: latency === undefined ? {} : { transaction_mean_ms: Number(latency) },
  };
}
