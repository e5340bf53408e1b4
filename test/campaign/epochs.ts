// SPDX-License-Identifier: Apache-2.0
/**
 * The backup's image is the primary's VM, epoch by epoch: a real pair under mixed load, where
 * each epoch carries the digest of CPU, memory and devices at its cut, and the backup hashes its
 * image after applying it. At each --whole-every-th epoch both hashes are of memory itself, from its first
 * page to its last: a page that was written and not noted as written, or not shipped, or not
 * applied, differs. Then the primary is killed, and what the survivor goes on from is the last cut.
 *
 *   npm run campaign:epochs -- [--protocol remus|kemari|kemari-every] [--vcpus N]
 *        [--epochs 10000] [--disk blocks|io-log] [--seed N] [--whole-every N] [--keep DIR]
 *
 * --whole-every: at the epochs between, hashes are kept up to date by what was noted as written,
 * and 512 KiB of other pages are looked at in turn. Default: 1; of kemari-every, whose epochs are short
 * and many, 20; 0: never.
 *
 * Ends with one JSON object on stdout; exit code 1, and its name, at the first difference.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { MIXED_SETUP, mixedStep } from '../../bench/mixed-load.ts';
import { pair } from '../../bench/systems/pair.ts';
import { VM_NAME } from '../../bench/systems/vm.ts';
import { referenceVm } from '../../bench/workloads/guest.ts';
import { ask } from '../../src/daemon/client.ts';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import { Random } from '../../src/lab/random.ts';
import { fileSystemIsWhole } from '../lib/file-system.ts';
import { takenOver } from '../lib/stored-cuts.ts';

const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'remus' },
    vcpus: { type: 'string', default: '1' },
    epochs: { type: 'string', default: '10000' },
    disk: { type: 'string' },
    seed: { type: 'string' },
    'whole-every': { type: 'string' },
    keep: { type: 'string' },
  },
});
const { protocol, disk } = values;
const vcpus = Number(values.vcpus);
const epochs = Number(values.epochs);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const wholeEvery = Number(values['whole-every'] ?? (protocol === 'kemari-every' ? 20 : 1));
if (!/^(remus|kemari|kemari-every)$/.test(protocol) || !(vcpus >= 1) || !(epochs >= 1)) {
  console.error('usage: --protocol remus|kemari|kemari-every --vcpus N --epochs N --seed N');
  process.exit(2);
}
const LOOK_MS = 200;
const TELL_MS = 10_000;
const LIVE_MS = 30_000;
/** Without an epoch for so long it stands still. */
const STALLED_MS = 60_000;

const dir = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-epochs-'));
process.env.UNDERSTUDY_STATE_DIR = join(dir, 'state'); // where ask() looks
// Inherited by daemons and QEMUs (qemu/exitlog/verify/digest.c, addon/image/check.h).
process.env.EXITLOG_DIGEST_CHECK = String(wholeEvery);
const system = pair({
  protocol,
  unverified: true,
  replication: {
    digest_every: 'cut',
    heartbeat_missed: 100, // a host that is busy for a moment is no lost side
    ...(disk === undefined ? {} : { disk }),
  },
});
const vm = await system.start(dir, {
  ...(await referenceVm('us.run=shell')),
  memory: '128M',
  vcpus,
});
let problem = '';
let killed = false;
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});
// A side that ends says why with its last words: which epoch differs, above all.
vm.ended.catch((error: unknown) => {
  if (!killed) problem ||= String(error);
});
const startedMs = performance.now();
/** The primary's, as it was last seen. */
const seen: { primary: DaemonStatus | null } = { primary: null };
let compared = 0;
/** Epochs of the boot: they are compared, too, and do not count. */
let booted = 0;
/** Ends of epochs in the survivor's log. */
let cuts = 0;
let survivorEqual = false;
try {
  await vm.said('guest# ');
  await type(MIXED_SETUP);
  booted = Number((await vm.status?.('backup'))?.image_compared ?? 0);
  await run();
  await takeOver();
} catch (error) {
  problem ||= String(error);
}
await vm.close();
if (problem === '') {
  try {
    fileSystemIsWhole(dir, join(dir, 'backup', 'disk.raw'));
  } catch (error) {
    problem = `the survivor's file system: ${String(error)}`;
  }
}
console.log(
  JSON.stringify({
    ...{ protocol, vcpus, disk: disk ?? 'blocks', seed, whole_every: wholeEvery },
    epochs: cuts,
    compared,
    under_load: compared - booted,
    differing: problem === '' ? 0 : null,
    survivor_equal: survivorEqual,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    pages_per_epoch: seen.primary?.cut_pages ?? null,
    pause_ms: seen.primary?.cut_pause_ms ?? null,
    problem,
  }),
);
if (problem !== '') console.error(`${problem}\nkept ${dir}; again with --seed ${seed}`);
else if (values.keep === undefined) rmSync(dir, { recursive: true, force: true });
process.exitCode = problem === '' && compared - booted >= epochs ? 0 : 1;

async function type(text: string): Promise<void> {
  const answer = await ask({ name: VM_NAME, role: 'primary' }, { cmd: 'console-input', text });
  if (!answer.ok) throw new Error(`the console: ${answer.error}`);
}

async function run(): Promise<void> {
  const random = new Random(seed);
  const loading = (async () => {
    while (problem === '' && !killed) await mixedStep(vm, type, random);
  })();
  loading.catch((error: unknown) => {
    if (!killed) problem ||= String(error);
  });
  let toldMs = startedMs;
  let grewMs = startedMs;
  while (compared - booted < epochs && !interrupted) {
    await sleep(LOOK_MS);
    if (problem !== '') throw new Error(problem);
    seen.primary = (await vm.status?.('primary')) ?? seen.primary;
    const { image_compared: now = null } = (await vm.status?.('backup')) ?? {};
    const nowMs = performance.now();
    if ((now ?? 0) > compared) grewMs = nowMs;
    compared = now ?? compared;
    if (nowMs > grewMs + STALLED_MS) throw new Error(`no epoch after ${compared}`);
    if (nowMs < toldMs + TELL_MS) continue;
    toldMs = nowMs;
    console.error(`${compared - booted} of ${epochs} epochs under load are equal`);
  }
}

/** In the middle of the load. */
async function takeOver(): Promise<void> {
  killed = true;
  process.kill(vm.pids()[0] ?? 0, 'SIGKILL');
  for (const untilMs = performance.now() + LIVE_MS; ; await sleep(LOOK_MS)) {
    const status = await vm.status?.('backup');
    if (status?.state === 'needs-backup') break;
    if (performance.now() > untilMs) throw new Error(`no take-over: ${status?.reason ?? 'gone'}`);
  }
  const logs = join(dir, 'state', `${VM_NAME}-backup`, 'log');
  const [log = ''] = readdirSync(logs).filter((name) => /^[0-9a-f]{32}$/.test(name));
  let taken = await takenOver(join(logs, log));
  for (const untilMs = performance.now() + LIVE_MS; !taken.hasGoneOn; ) {
    if (performance.now() > untilMs) throw new Error('the survivor has nothing in its log');
    await sleep(LOOK_MS);
    taken = await takenOver(join(logs, log));
  }
  const { last, first } = taken;
  cuts = taken.cuts;
  if (cuts < compared) throw new Error(`${cuts} epochs in its log, ${compared} were compared`);
  survivorEqual = JSON.stringify(first, text) === JSON.stringify(last, text);
  if (!survivorEqual) {
    throw new Error(
      `the survivor goes on from ${JSON.stringify(first, text)}, ` +
        `its last cut is ${JSON.stringify(last, text)}`,
    );
  }
}

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value;
}
