// SPDX-License-Identifier: Apache-2.0
/**
 * For how long the guest stands still for a checkpoint: a 256 MiB guest with IOzone on
 * its disk and Netperf on its network all the time.
 *
 *   npm run campaign:pause -- [--seconds 120] [--every 500ms] [--vcpus 1]
 *
 * One JSON object on stdout, from the checkpoints' manifests: the first, full one, and
 * the incremental ones (mean, p50, p99, worst; of that the devices, and the rest, which is
 * memory). Exit code 1 when the replay of the whole does not verify.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { extractProgram } from '../../bench/initrd.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { runJson, scratch, start } from '../lib/command.ts';
import { DISK_WORK, NETWORK_TESTS } from '../lib/disk-work.ts';
import { makeNetns } from '../lib/netns.ts';
import { writeVm } from '../lib/workload-vm.ts';
import { referenceGuest } from '../lib/workloads.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    every: { type: 'string', default: '500ms' },
    vcpus: { type: 'string', default: '1' },
  },
});
const NETPERF_S = 5;

interface Manifest {
  readonly kind: 'full' | 'incremental';
  readonly bytes: number;
  readonly pause_ns: number;
  readonly devices_ns: number;
}

const dir = scratch('pause');
const recording = join(dir, 'recording');
const guest = await referenceGuest();
const netns = makeNetns('pause');
if (netns === null) throw new Error('no right to make a network namespace: run as root');
process.on('exit', () => netns.remove());

const workload = {
  name: 'pause',
  us: () => `us.run=shell us.disk=1 us.ip=${netns.guestIp}/24`,
  disk: true as const,
  network: true as const,
  memory: '256M',
};
const shape = { vcpus: Number(values.vcpus), machine: 'pc' as const, devices: 'virtio' as const };
await writeVm(workload, shape, dir, guest, netns);
const vm = start(
  ['record', join(dir, 'VM.toml'), '--out', recording, '--checkpoint-every', values.every],
  { timeoutMs: 3_600_000, prefix: netns.prefix },
);
vm.done.catch(() => {});
await vm.printed('guest# ');
vm.child.stdin?.write('netserver -D >/dev/null 2>&1 &\n');
vm.child.stdin?.write(
  'until grep -qs :3241 /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done; echo net-$((1))-up\n',
);
await vm.printed('net-1-up');
vm.child.stdin?.write(DISK_WORK);
const client = join(dir, 'netperf');
extractProgram(guest.initrd, 'netperf', client);
execFileSync('chmod', ['+x', client]);
const untilMs = performance.now() + Number(values.seconds) * 1000;
for (let at = 0; performance.now() < untilMs; at += 1) {
  const test = NETWORK_TESTS[at % NETWORK_TESTS.length] ?? '';
  const words = ['-H', netns.guestIp, '-t', test, '-l', String(NETPERF_S), '-P', '0', '-v', '0'];
  const [file = '', ...prefix] = netns.prefix;
  const { stdout } = await promisify(execFile)(file, [...prefix, client, ...words], {
    timeout: 60_000,
  });
  const leftS = Math.max(0, (untilMs - performance.now()) / 1000);
  console.error(`${test} ${stdout.trim()}, ${leftS.toFixed(0)} s to go`);
}
vm.child.kill('SIGINT');
const { code, stderr } = await vm.done;
if (code !== 0) throw new Error(`record ended with ${code}: ${stderr}`);

const manifests = checkpointsOf(recording).map((icount) => {
  const file = join(recording, 'checkpoints', icount, 'manifest.json');
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest;
});
const of = (kind: Manifest['kind']): Manifest[] => manifests.filter((one) => one.kind === kind);
const ms = (ns: number): number => Math.round(ns / 1e4) / 100;

function summary(ns: readonly number[]): Record<string, number> {
  const sorted = [...ns].sort((a, b) => a - b);
  const at = (share: number): number => ms(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
  const mean = ms(ns.reduce((sum, one) => sum + one, 0) / Math.max(1, ns.length));
  return { mean, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const incremental = of('incremental');
const { json, code: replayCode } = await runJson(['replay', recording, '--verify'], {
  timeoutMs: 3_600_000,
});
console.log(
  JSON.stringify({
    checkpoints: manifests.length,
    first_full_pause_ms: ms(manifests[0]?.pause_ns ?? 0),
    full_pause_ms: summary(of('full').map(({ pause_ns }) => pause_ns)),
    pause_ms: summary(incremental.map(({ pause_ns }) => pause_ns)),
    devices_ms: summary(incremental.map(({ devices_ns }) => devices_ns)),
    memory_ms: summary(incremental.map((one) => one.pause_ns - one.devices_ns)),
    bytes_mean: Math.round(
      incremental.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, incremental.length),
    ),
    verified: json.verified,
  }),
);
if (replayCode !== 0 || json.verified !== true) process.exitCode = 1;
