// SPDX-License-Identifier: Apache-2.0
/**
 * The backup's image is the primary's VM, epoch by epoch: a real pair under mixed load, where
 * each epoch carries the digest of CPU, memory and devices at its cut, and the backup hashes its
 * image after applying it. Then the primary is killed, and what the survivor goes on from is the last cut.
 *
 *   npm run campaign:epochs -- [--protocol remus|kemari|kemari-every] [--disk blocks|io-log]
 *        [--vcpus N] [--accel tcg|tcg-multi] [--total 10000] [--whole-every 20] [--seed N]
 *        [--plant FAULT] [--keep DIR]
 *
 * At each cut both sides' hashes are compared. They are kept up to date by what was noted as written, and
 * 512 KiB of other pages are looked at in turn. At each --whole-every-th cut (0: never) both are compared
 * with memory itself, from its first page to its last, on the side where it lies: a page that was written
 * and not noted, not shipped, or not applied differs then at the latest.
 *
 * --accel: default tcg with one vCPU, tcg-multi (a thread for each) with more.
 *
 * --plant: something is wrong on purpose, which has to be found: a bit of memory that changes by itself
 * ("primary", "backup": in the middle of the load), or a hook that is missing (a writer of
 * qemu/exitlog/verify/fault-copy.c, such as "dma", or who notes, such as "notes-device").
 *
 * Ends with one line for people on stderr and one JSON object on stdout; exit code 1 at the first difference,
 * which is named, or where less was compared than asked for. With --plant it is 1 when nothing was found.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { mixedSetup, mixedStep } from '../../bench/mixed-load.ts';
import { pair } from '../../bench/systems/pair.ts';
import { VM_NAME } from '../../bench/systems/vm.ts';
import { referenceVm } from '../../bench/workloads/guest.ts';
import { ask } from '../../src/daemon/client.ts';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import { Random } from '../../src/lab/random.ts';
import { damage, memoryOfImage, memoryOfQemu } from '../lib/damaged-memory.ts';
import { fileSystemIsWhole } from '../lib/file-system.ts';
import { takenOver } from '../lib/stored-cuts.ts';

const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'remus' },
    disk: { type: 'string', default: 'blocks' },
    vcpus: { type: 'string', default: '1' },
    accel: { type: 'string' },
    total: { type: 'string', default: '10000' },
    'whole-every': { type: 'string', default: '20' },
    seed: { type: 'string' },
    plant: { type: 'string' },
    keep: { type: 'string' },
  },
});
const { protocol, disk, plant } = values;
const vcpus = Number(values.vcpus);
const accel = values.accel ?? (vcpus === 1 ? 'tcg' : 'tcg-multi');
const total = Number(values.total);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const wholeEvery = Number(values['whole-every']);
const isKnown = /^(remus|kemari|kemari-every) (blocks|io-log) (tcg|tcg-multi)$/;
const numbers = [vcpus, total, wholeEvery + 1, seed + 1];
if (!isKnown.test(`${protocol} ${disk} ${accel}`) || !numbers.every((one) => one >= 1)) {
  console.error(
    'usage: --protocol remus|kemari|kemari-every --disk blocks|io-log --vcpus N ' +
      '--accel tcg|tcg-multi --total N --whole-every N --seed N --plant FAULT --keep DIR',
  );
  process.exit(2);
}
const LOOK_MS = 200;
const TELL_MS = 10_000;
/** However quick the epochs are, there is load of each kind (bench/mixed-load.ts). */
const STEPS_MIN = 10;
/** Pieces of load before something is damaged. */
const STEPS_BEFORE_DAMAGE = 3;
/** How a difference is told: by the backup, which compares, or by QEMU of its own memory. */
const DIFFERS =
  /(memory|the state of devices) of the image differs .*|page \d+ of .* is not as epoch \d+ left it|guest memory was written without being marked dirty/;
const MEMORY_MIB = 128;
const LIVE_MS = 30_000;
/** Without an epoch for so long it stands still. */
const STALLED_MS = 60_000;

const dir = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-epochs-'));
process.env.UNDERSTUDY_STATE_DIR = join(dir, 'state'); // where ask() looks
// Inherited by daemons and QEMUs (qemu/exitlog/verify/digest.c, addon/image/check.h).
process.env.EXITLOG_DIGEST_CHECK = String(wholeEvery);
const damaged = plant === 'primary' || plant === 'backup' ? plant : null;
if (plant !== undefined && damaged === null) {
  process.env.UNDERSTUDY_FAULT = `copy:${plant}:unhooked`;
}
const system = pair({
  protocol,
  unverified: true,
  replication: {
    digest_every: 'cut',
    // A host that is busy for a moment is no lost side.
    heartbeat_missed: 100,
    stuck_ms_max: 10_000,
    disk,
  },
});
const vm = await system.start(dir, {
  ...(await referenceVm('us.run=shell')),
  memory: `${MEMORY_MIB}M`,
  vcpus,
  accel,
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
let loadedAtMs = startedMs;
let loadedMs = 0;
let steps = 0;
/** Ends of epochs in the survivor's log. */
let cuts = 0;
let survivorEqual = false;
try {
  await vm.said('guest# ');
  await mixedSetup(vm, type);
  booted = Number((await vm.status?.('backup'))?.image_compared ?? 0);
  loadedAtMs = performance.now();
  await run();
  await takeOver();
} catch (error) {
  problem ||= String(error);
}
loadedMs ||= performance.now() - loadedAtMs;
await vm.close();
if (problem === '') {
  try {
    fileSystemIsWhole(dir, join(dir, 'backup', 'disk.raw'));
  } catch (error) {
    problem = `the survivor's file system: ${String(error)}`;
  }
}
conclude();

function conclude(): void {
  const underLoad = Math.max(0, compared - booted);
  const perS = Math.round((underLoad / loadedMs) * 10_000) / 10;
  const what = `${protocol}, disk = "${disk}", ${vcpus} vCPUs (${accel})`;
  console.log(
    JSON.stringify({
      ...{ protocol, disk, vcpus, accel, seed, plant: plant ?? null, whole_every: wholeEvery },
      epochs: cuts,
      compared,
      under_load: underLoad,
      whole: wholeEvery === 0 ? 0 : Math.ceil(compared / wholeEvery),
      per_s: perS,
      steps,
      differing: problem === '' ? 0 : null,
      survivor_equal: survivorEqual,
      seconds: Math.round((performance.now() - startedMs) / 1000),
      pages_per_epoch: seen.primary?.cut_pages ?? null,
      pause_ms: seen.primary?.cut_pause_ms ?? null,
      problem,
    }),
  );
  const again = `kept ${dir}; again with --seed ${seed}`;
  if (plant !== undefined) {
    const found = DIFFERS.exec(problem)?.[0] ?? null;
    const result = found === null ? `NOT FOUND: ${problem}` : `found: ${found}`;
    console.error(`${what}: planted "${plant}", ${underLoad} epochs under load: ${result}`);
    process.exitCode = found === null ? 1 : 0;
  } else if (problem !== '') {
    console.error(`${what}: after ${underLoad} epochs: ${problem}\n${again}`);
    process.exitCode = 1;
  } else {
    console.error(`${what}: ${underLoad} epochs under load (${perS}/s), 0 differ`);
    process.exitCode = underLoad >= total ? 0 : 1;
  }
  const isWanted = values.keep !== undefined || (problem !== '' && plant === undefined);
  if (!isWanted) rmSync(dir, { recursive: true, force: true });
}

async function type(text: string): Promise<void> {
  const answer = await ask({ name: VM_NAME, role: 'primary' }, { cmd: 'console-input', text });
  if (!answer.ok) throw new Error(`the console: ${answer.error}`);
}

async function run(): Promise<void> {
  const random = new Random(seed);
  const loading = (async () => {
    while (problem === '' && !killed) {
      await mixedStep(vm, type, random);
      steps += 1;
      if (damaged !== null && steps === STEPS_BEFORE_DAMAGE) await damageMemory(damaged);
    }
  })();
  loading.catch((error: unknown) => {
    if (!killed) problem ||= String(error);
  });
  let toldMs = startedMs;
  let grewMs = startedMs;
  while ((compared - booted < total || steps < STEPS_MIN) && !interrupted) {
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
    tell(compared - booted, (nowMs - loadedAtMs) / 1000);
  }
  loadedMs = performance.now() - loadedAtMs;
}

function tell(epochs: number, seconds: number): void {
  const perS = epochs / seconds;
  const left =
    epochs >= total || perS === 0 ? '' : `, ${Math.ceil((total - epochs) / perS)} s to go`;
  console.error(`${epochs} of ${total} epochs under load are equal, ${perS.toFixed(1)}/s${left}`);
}

async function damageMemory(side: 'primary' | 'backup'): Promise<void> {
  const status = await vm.status?.(side);
  const bytes = MEMORY_MIB * 2 ** 20;
  const page =
    side === 'primary'
      ? damage(memoryOfQemu(Number(status?.qemu_pid), bytes))
      : damage(memoryOfImage(Number(status?.pid), bytes));
  console.error(`planted: a bit of page ${page} of the ${side}'s memory`);
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
