// SPDX-License-Identifier: Apache-2.0
/**
 * `accel = "tcg-multi"` on real pairs: the guest's vCPUs use several cores, and it goes on
 * when the host of it dies.
 *
 *   SEED=N npm test integration/tcg-multi
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { scratch } from '../lib/command.ts';
import { playDemo } from '../lib/demo.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { playRounds, problemOf } from '../lib/repair-rounds.ts';
import { referenceGuest } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/tcg-multi`;
const root = scratch('tcg-multi');
const VCPUS = 4;
const multi = suite('tcg-multi');

for (const [protocol, fault] of [
  ['remus', 'primary'],
  ['remus', 'backup'],
  ['kemari', 'primary'],
] as const) {
  multi(
    `${protocol}: the ${fault} is killed: nothing is lost, on the same connection`,
    async () => {
      const { code, json, stderr } = await playDemo([
        ...[
          '--protocol',
          protocol,
          '--accel',
          'tcg-multi',
          '--vcpus',
          String(VCPUS),
          '--fault',
          fault,
        ],
        ...['--seed', String(seed), '--seconds-before', '1', '--seconds-after', '1'],
      ]);
      assert.is(code, 0, `${json?.problem ?? ''} ${again}\n${stderr}`);
      assert.equal([json?.lost, json?.corrupted, json?.reconnects, json?.disk_ok], [0, 0, 0, true]);
      assert.ok((json?.requests ?? 0) > 20, `only ${json?.requests} requests`);
      assert.is(json?.survivor, fault === 'primary' ? 'backup' : 'primary');
    },
  );
}

multi('two kills and a switch-over: a new backup joins each time, on one connection', async () => {
  const result = await playRounds({
    dir: join(root, 'rounds'),
    seed,
    events: ['kill', 'promote', 'kill'],
    vm: {
      machine: `vcpus = ${VCPUS}\naccel = "tcg-multi"`,
      replication: ['protocol = "remus"'],
    },
    onRound: () => {},
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}; ${again}`);
  });
  assert.is(problemOf(result), '', again);
});

/** CPU time of a process or a thread, s. */
function cpuSeconds(of: string): number {
  const fields = readFileSync(`/proc/${of}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function qemuOf(pair: Pair, side: Side): Promise<string> {
  return String((await pair.status(side))?.qemu_pid);
}

/** How many threads beside the main loop's have computed for so long: none but vCPUs do. */
function busyThreads(qemu: string, seconds: number): number {
  const others = readdirSync(`/proc/${qemu}/task`).filter((task) => task !== qemu);
  return others.filter((task) => cpuSeconds(`${qemu}/task/${task}`) > seconds).length;
}

const MEASURED_MS = 3000;
/** One thread for all vCPUs cannot; the main loop's share is far less. */
const CORES_MIN = 1.2;

/** How many cores a side's QEMU uses. */
async function coresOf(pair: Pair, side: Side): Promise<number> {
  const qemu = await qemuOf(pair, side);
  const [fromS, fromMs] = [cpuSeconds(qemu), performance.now()];
  await sleep(MEASURED_MS);
  return ((cpuSeconds(qemu) - fromS) * 1000) / (performance.now() - fromMs);
}

multi(
  'a guest of four vCPUs computes on more than one core, here and after a take-over',
  async () => {
    const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
    const reference = await referenceGuest();
    const guest = { ...reference, kernel, initrd, append: `${reference.append} ${append}` };
    const pair = Pair.start(join(root, 'cores'), guest, ['protocol = "remus"'], {
      vm: [`vcpus = ${VCPUS}`, 'accel = "tcg-multi"'],
      runs: 'us.test=cpu us.count=100000',
    });
    try {
      await pair.until('it is protected', async () => {
        return (await pair.status('primary'))?.state === 'protected';
      });
      const status = await pair.status('primary');
      assert.is(status?.accel, 'tcg-multi');
      assert.match(String(status?.accel_lacks), /history, replays, digests/);
      const qemu = await qemuOf(pair, 'primary');
      await pair.until('it has booted: all of its vCPUs compute', () => {
        return busyThreads(qemu, 0.5) === VCPUS;
      });
      const before = await coresOf(pair, 'primary');
      const cuts = (await pair.status('primary')) ?? {};
      pair.signal('primary', 'SIGKILL');
      await pair.until('it took over', async () => {
        return (await pair.status('backup'))?.state === 'needs-backup';
      });
      const after = await coresOf(pair, 'backup');
      console.log(
        `  ${before.toFixed(2)} cores under ${cuts.cuts} cuts (pause ${cuts.cut_pause_ms} ms, at most ` +
          `${cuts.cut_pause_max_ms} ms, ${cuts.cut_pages} pages), ${after.toFixed(2)} after the take-over`,
      );
      assert.ok(before > CORES_MIN, `${before} cores`);
      assert.ok(after > CORES_MIN, `${after} cores`);
    } finally {
      await pair.end();
    }
  },
);

multi.run();
