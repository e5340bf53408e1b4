// SPDX-License-Identifier: Apache-2.0
/**
 * What a join costs a VM with 256 MiB of memory and a 1 GiB disk, nearly full, of which the
 * new backup has nothing, while a client is served and (with --busy) the guest computes as well.
 *
 *   npm run campaign:join-cost -- [--count 5] [--disk-mib 1024] [--busy]
 *
 * One JSON object on stdout: per join the time to `protected`, for how long the guest
 * stood still, for how long outputs were held, and the client's longest wait. Exit code 1
 * when something was lost.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeNetwork } from '../../src/lab/netns.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, TwoHosts } from '../lib/two-hosts.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '5' },
    'disk-mib': { type: 'string', default: '1024' },
    busy: { type: 'boolean', default: false },
  },
});
const diskMib = Number(values['disk-mib']);
const dir = mkdtempSync(join(tmpdir(), 'understudy-join-cost-'));
const network = makeNetwork();
const hosts = new TwoHosts({ dir, network, memory: '256M', diskMib, busy: values.busy });
let client: Client | null = null;

interface Joined {
  readonly event: string;
  readonly seconds: number;
  readonly pause_ms: number;
  readonly outputs_held_ms: number;
}

/** The joins that the daemon of host a has told of. */
function joins(): Joined[] {
  return readFileSync(join(hosts.stateDir('a'), 'daemon.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"event":"joined"'))
    .map((line) => JSON.parse(line) as Joined);
}

const results: object[] = [];
let problem = '';
try {
  hosts.start('a', 'primary');
  hosts.start('b', 'backup');
  await hosts.until('a', 'protected', 120_000);
  await hosts.serving('a', 120_000);
  client = new Client(network, 1);
  await sleep(2000);
  for (let n = 0; n < Number(values.count); n += 1) {
    await hosts.crash('b');
    await hosts.until('a', 'needs-backup', 20_000);
    truncateSync(hosts.image('b'), 0);
    truncateSync(hosts.image('b'), diskMib * 2 ** 20);
    await sleep(1000);
    const fromMs = Date.now();
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', 180_000);
    const protectedMs = Date.now() - fromMs;
    await sleep(300);
    const told = joins().at(-1);
    const result = {
      protected_ms: protectedMs,
      pause_ms: told?.pause_ms,
      outputs_held_ms: told?.outputs_held_ms,
      client_wait_ms_max: client.stallMs(fromMs),
    };
    results.push(result);
    console.error(JSON.stringify(result));
  }
  const { unanswered, corrupted, broken } = await client.finish();
  if (unanswered + corrupted + broken > 0) problem = 'the client lost something';
} catch (error) {
  problem = String(error);
} finally {
  client?.kill();
  await hosts.destroy();
  network.remove();
  rmSync(dir, { recursive: true, force: true });
}
console.log(JSON.stringify({ busy: values.busy, disk_mib: diskMib, joins: results, problem }));
process.exitCode = problem === '' ? 0 : 1;
