// SPDX-License-Identifier: Apache-2.0
/**
 * What a join costs a VM with 256 MiB of memory and a 1 GiB disk, nearly full, of which the
 * new backup has nothing, while a client is served and (with --busy) the guest computes as well.
 *
 *   npm run campaign:join-cost -- [--count 5] [--disk-mib 1024] [--busy]
 *
 * One JSON object on stdout: per join the time to `protected` and of each of its steps, CPU
 * time of both daemons, for how long the guest stood still, for how long outputs were held,
 * and the client's longest wait. Exit code 1 when something was lost.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeNetwork } from '../../src/lab/netns.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, type Host, JOIN_STEPS, TwoHosts } from '../lib/two-hosts.ts';

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

/** Until it is protected. @returns ms of each step that was seen, by what `status` says of it */
async function watchJoin(fromMs: number): Promise<Record<string, number>> {
  const steps: Record<string, number> = {};
  let step = 'looking for each other';
  let sinceMs = fromMs;
  for (;;) {
    const status = await hosts.status('a');
    const isOver = status?.state === 'protected';
    const now = JOIN_STEPS.findLast((name) => status?.reason.includes(name) === true) ?? step;
    if (now !== step || isOver) {
      steps[step] = Date.now() - sinceMs;
      step = now;
      sinceMs = Date.now();
    }
    if (isOver) return steps;
    if (Date.now() - fromMs > 180_000) throw new Error(`not protected: ${status?.reason}`);
    await sleep(20);
  }
}

/** CPU time of a daemon, without its QEMU. */
async function cpuMs(host: Host): Promise<number> {
  const pid = (await hosts.status(host))?.pid;
  if (pid === undefined) return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
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
    const leaderMs = await cpuMs('a');
    const fromMs = Date.now();
    hosts.start('b', 'backup');
    const steps = await watchJoin(fromMs);
    const protectedMs = Date.now() - fromMs;
    const cpu = { leader: (await cpuMs('a')) - leaderMs, backup: await cpuMs('b') };
    await sleep(300);
    const told = joins().at(-1);
    const result = {
      protected_ms: protectedMs,
      daemon_cpu_ms: cpu,
      steps_ms: steps,
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
