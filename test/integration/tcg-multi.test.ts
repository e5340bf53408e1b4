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

async function qemuOf(pair: Pair, side: Side): Promise<string> {
  return String((await pair.status(side))?.qemu_pid);
}

interface Scheduled {
  readonly ranMs: number;
  /** It could have run, but the host ran others. */
  readonly waitedMs: number;
}

/** What the kernel says of each thread of a process but the first, the main loop's. */
function threadsOf(pid: string): Scheduled[] {
  return readdirSync(`/proc/${pid}/task`)
    .filter((task) => task !== pid)
    .map((task) => {
      const words = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ');
      const [ranMs = 0, waitedMs = 0] = words.map((ns) => Number(ns) / 1e6);
      return { ranMs, waitedMs };
    });
}

const MEASURED_MS = 3000;
/** One thread for all vCPUs never wants more than one core; the other threads want next to none. */
const CORES_MIN = 1.2;

/** How many cores a side's QEMU uses, and how many it would if the host had nothing else to do. */
async function coresOf(pair: Pair, side: Side) {
  const qemu = await qemuOf(pair, side);
  const sums = () => {
    const threads = threadsOf(qemu);
    const ranMs = threads.reduce((sum, one) => sum + one.ranMs, 0);
    return { ranMs, wantedMs: threads.reduce((sum, one) => sum + one.waitedMs, ranMs) };
  };
  const [from, fromMs] = [sums(), performance.now()];
  await sleep(MEASURED_MS);
  const [to, ms] = [sums(), performance.now() - fromMs];
  return { used: (to.ranMs - from.ranMs) / ms, wanted: (to.wantedMs - from.wantedMs) / ms };
}

const words = ({ used, wanted }: Awaited<ReturnType<typeof coresOf>>): string =>
  `${used.toFixed(2)} cores of ${wanted.toFixed(2)} that it could use`;

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
        return threadsOf(qemu).filter(({ ranMs }) => ranMs > 500).length === VCPUS;
      });
      const before = await coresOf(pair, 'primary');
      const cuts = (await pair.status('primary')) ?? {};
      pair.signal('primary', 'SIGKILL');
      await pair.until('it took over', async () => {
        return (await pair.status('backup'))?.state === 'needs-backup';
      });
      const after = await coresOf(pair, 'backup');
      console.log(
        `  ${words(before)} under ${cuts.cuts} cuts (pause ${cuts.cut_pause_ms} ms, at most ` +
          `${cuts.cut_pause_max_ms} ms, ${cuts.cut_pages} pages), ${words(after)} after the take-over`,
      );
      assert.ok(before.wanted > CORES_MIN, words(before));
      assert.ok(after.wanted > CORES_MIN, words(after));
    } finally {
      await pair.end();
    }
  },
);

multi.run();
