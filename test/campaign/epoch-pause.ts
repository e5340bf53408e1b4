// SPDX-License-Identifier: Apache-2.0
/**
 * For how long a protected guest stands still at the end of an epoch: 256 MiB, with IOzone on its
 * disk and Netperf on its network all the time. Each protocol and disk mode on a pair of its own.
 *
 *   npm run campaign:epoch-pause -- [--protocol remus,kemari] [--disk blocks,io-log]
 *        [--seconds 60] [--interval-ms N]
 *
 * A table on stderr and one JSON object on stdout, from the primary's `status` when the load ends:
 * the mean is that of the epochs under load, p99 (from a histogram, the upper bound of its class) and
 * the longest are of all since power-on, which are more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mixedSetup } from '../../bench/mixed-load.ts';
import { pair } from '../../bench/systems/pair.ts';
import { VM_NAME } from '../../bench/systems/vm.ts';
import { referenceVm } from '../../bench/workloads/guest.ts';
import { netperf } from '../../bench/workloads/netperf-client.ts';
import { textTable } from '../../src/base/text-table.ts';
import { ask } from '../../src/daemon/client.ts';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import { DISK_WORK, NETWORK_TESTS } from '../lib/disk-work.ts';

const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'remus,kemari' },
    disk: { type: 'string', default: 'blocks,io-log' },
    seconds: { type: 'string', default: '60' },
    'interval-ms': { type: 'string' },
  },
});
const NETPERF_S = 4;

interface Pauses {
  readonly protocol: string;
  readonly disk: string;
  readonly epochs: number;
  readonly pages_mean: number;
  readonly pause_mean_ms: number;
  readonly pause_p99_ms: number;
  readonly pause_max_ms: number;
  readonly interval_ms: number | null;
}

async function type(text: string): Promise<void> {
  const answer = await ask({ name: VM_NAME, role: 'primary' }, { cmd: 'console-input', text });
  if (!answer.ok) throw new Error(`the console: ${answer.error}`);
}

/** What the epochs between two looks took. */
function between(before: DaemonStatus, after: DaemonStatus): Omit<Pauses, 'protocol' | 'disk'> {
  const epochs = Number(after.cuts) - Number(before.cuts);
  const mean = (of: 'cut_pages' | 'cut_pause_ms'): number => {
    const sum = (at: DaemonStatus): number => Number(at[of]) * Number(at.cuts);
    return (sum(after) - sum(before)) / Math.max(1, epochs);
  };
  const rounded = (value: number): number => Math.round(value * 100) / 100;
  return {
    epochs,
    pages_mean: Math.round(mean('cut_pages')),
    pause_mean_ms: rounded(mean('cut_pause_ms')),
    pause_p99_ms: rounded(Number(after.cut_pause_p99_ms)),
    pause_max_ms: rounded(Number(after.cut_pause_max_ms)),
    interval_ms: after.epoch_interval_ms,
  };
}

async function measure(protocol: string, disk: string): Promise<Pauses> {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-epoch-pause-'));
  process.env.UNDERSTUDY_STATE_DIR = join(dir, 'state'); // where ask() looks
  const interval = values['interval-ms'];
  const system = pair({
    protocol,
    unverified: true,
    replication: { disk, ...(interval === undefined ? {} : { interval_ms: Number(interval) }) },
  });
  const vm = await system.start(dir, { ...(await referenceVm('us.run=shell')), memory: '256M' });
  try {
    const look = async (): Promise<DaemonStatus> => {
      const status = await vm.status?.('primary');
      if (status == null) throw new Error('the primary does not answer');
      return status;
    };
    await vm.said('guest# ');
    await mixedSetup(vm, type);
    await type(DISK_WORK);
    const before = await look();
    const endMs = performance.now() + Number(values.seconds) * 1000;
    for (let at = 0; performance.now() < endMs; at += 1) {
      const test = NETWORK_TESTS[at % NETWORK_TESTS.length] ?? '';
      const [rate] = await netperf(vm, test, ['THROUGHPUT'], NETPERF_S);
      console.error(`${protocol} ${disk}: ${test} ${rate}`);
    }
    return { protocol, disk, ...between(before, await look()) };
  } finally {
    await vm.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

const all: Pauses[] = [];
for (const protocol of values.protocol.split(',')) {
  for (const disk of values.disk.split(',')) all.push(await measure(protocol, disk));
}
const head = ['protocol', 'disk', 'epochs', 'pages', 'mean ms', 'p99 ms', 'longest ms', 'interval'];
const table = textTable({ head });
for (const one of all) table.push(Object.values(one).map(String));
console.error(table.toString());
console.log(JSON.stringify(all));
