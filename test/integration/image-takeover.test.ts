// SPDX-License-Identifier: Apache-2.0
/**
 * A QEMU that waits beside an image takes over from a VM that is killed in the middle of an
 * epoch: it goes on from the last whole one.
 *
 *   npm test integration/image-takeover
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL, type EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { comparePoints } from '../../src/base/position.ts';
import { Random } from '../../src/lab/random.ts';
import { readDigest } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { scratch } from '../lib/command.ts';
import {
  consoleBefore,
  cutsOf,
  EpochVm,
  type EpochVmOptions,
  LEAVE,
  MEMORY_BYTES,
  MS,
  makeDisk,
} from '../lib/epoch-vm.ts';

const takeover = suite('image takeover');
const root = scratch('image-takeover');
const seed = Number(process.env.UNDERSTUDY_SEED ?? Date.now() % 100_000);
const random = new Random(seed);
console.log(`  UNDERSTUDY_SEED=${seed}`);

const MIB_OF_ZEROS = createHash('md5')
  .update(Buffer.alloc(1 << 20))
  .digest('hex');

type Shape = Pick<EpochVmOptions, 'vcpus' | 'accel' | 'diskInterface' | 'vga'>;

/** By name. */
const SHAPES: Readonly<Record<string, Shape>> = {
  '1 vCPU': { vcpus: 1 },
  '4 vCPUs': { vcpus: 4 },
  '4 vCPUs with threads of their own': { vcpus: 4, accel: 'tcg-multi' },
};

/** The pair: a VM, its image, and who waits beside that. */
class Pair {
  readonly live: EpochVm;
  readonly image: Epochs;
  readonly standBy: EpochVm;
  readonly disks: readonly [string, string];
  last: TakenEpoch | null = null;
  #taking = true;
  #taker: Promise<void>;

  private constructor(
    live: EpochVm,
    image: Epochs,
    standBy: EpochVm,
    disks: readonly [string, string],
  ) {
    this.live = live;
    this.image = image;
    this.standBy = standBy;
    this.disks = disks;
    this.#taker = this.#take();
  }

  /** @param after the stand-by's own epochs, when it has taken over */
  static async start(name: string, shape: Shape, numbers: EpochNumbers, after: EpochNumbers) {
    const words = 'us.run=shell';
    const dir = join(root, name);
    const there = join(dir, 'stand-by');
    mkdirSync(there, { recursive: true });
    const disks = [makeDisk(dir), makeDisk(there)] as const;
    const live = await EpochVm.start({ dir, words, numbers, ...shape });
    live.logs();
    const image = new Epochs(live.ring, { memoryBytes: MEMORY_BYTES, disks: [disks[1]] });
    const standBy = await EpochVm.start({
      dir: there,
      words,
      numbers: after,
      ...shape,
      image,
    });
    await until(
      'it waits',
      () => standBy.ring.status().state === 'waiting' || standBy.exit !== null,
    );
    assert.is(standBy.exit, null);
    return new Pair(live, image, standBy, disks);
  }

  async #take(): Promise<void> {
    while (this.#taking) {
      for (let one = this.image.take(); one !== null; one = this.image.take()) {
        this.last = one;
        this.standBy.ring.hear(this.live.ring.status());
      }
      await sleep(1);
    }
  }

  /** Kills the live one; the stand-by is it from then on. */
  async killed() {
    this.live.machine.kill();
    await this.live.settle();
    this.#taking = false;
    await this.#taker;
    const records = await this.live.records();
    const last = this.last;
    assert.ok(last !== null, 'an epoch was committed');
    const cut = cutsOf(records).get(last.ordinal);
    assert.ok(cut !== undefined, 'its CHECKPOINT is in the log');
    const { ring } = this.standBy;
    const startNs = process.hrtime.bigint();
    this.image.handOver();
    ring.startAt(last.ordinal + 1n, cut.dataEnd);
    ring.control(CONTROL.GO_LIVE);
    await until('it is live', () => ring.status().state !== 'waiting');
    assert.is(ring.status().state, 'recording', ring.status().error);
    this.image.close();
    this.standBy.logs();
    const liveMs = Number(ring.status().liveAtNs - startNs) / 1e6;
    return { records, last, cut, liveMs };
  }

  async end(): Promise<void> {
    await this.standBy.end();
    await this.live.end();
  }
}

async function until(what: string, is: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!is()) {
    assert.ok(Date.now() < deadline, `timed out: ${what}`);
    await sleep(1);
  }
}

/** CPU time of all threads of a process, ns. */
function cpuNs(pid: number): bigint {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).reduce((sum, task) => {
    const [ns = '0'] = readFileSync(join(tasks, task, 'schedstat'), 'latin1').split(' ');
    return sum + BigInt(ns);
  }, 0n);
}

/** Counts, and computes: `tick N MD5` for each MiB of zeros. */
const TICKS = (count: number): string =>
  `n=0; while [ $n -lt ${count} ]; do n=$((n+1)); ` +
  'dd if=/dev/zero bs=64k count=16 2>/dev/null | md5sum | { read m x; echo tick $n $m; }; ' +
  `done; ${LEAVE}`;

/** Files whose content is known by its hash only; read again from the disk at the end. */
const FILES = (count: number): string =>
  `cd /data; n=0; while [ $n -lt ${count} ]; do n=$((n+1)); ` +
  'dd if=/dev/urandom of=f$n bs=4k count=32 conv=fsync 2>/dev/null; md5sum f$n >>sums; ' +
  'sync; echo tick $n $?; done; cd /; umount /data; mount -t ext4 /dev/vda /data; cd /data; ' +
  'md5sum -c sums >/tmp/o; echo good $(grep -c OK /tmp/o) of $(wc -l </tmp/o); cd /; ' +
  LEAVE;

const numbersOfTicks = (console: string): number[] =>
  [...console.matchAll(/^tick (\d+) \w+\r$/gm)].map((match) => Number(match[1]));

async function midway({ live }: Pair, script: string, ticksMin: number): Promise<void> {
  await until('the shell asks', () => live.console.includes('guest# '));
  live.type(script);
  await until(`${ticksMin} ticks`, () => numbersOfTicks(live.console).length >= ticksMin);
  await sleep(random.below(200));
}

/** Whether it was ahead is told by where it died: it need not have put anything in its log. */
function isRolledBack(
  { live }: Pair,
  { records, last }: Awaited<ReturnType<Pair['killed']>>,
): void {
  const cut = records.find(({ ordinal }) => ordinal === last.ordinal);
  const { point } = live.ring.status();
  assert.ok(cut !== undefined && comparePoints(cut.point, point) < 0, 'it was ahead of its cut');
}

const DIGESTS: EpochNumbers = { everyNs: 10n * MS, packetNs: 2n * MS, inFlight: 4, digests: true };
const FAST: EpochNumbers = { ...DIGESTS, everyNs: 25n * MS, digests: false };
const NONE: EpochNumbers = { ...FAST, everyNs: 0n };

for (const [name, shape] of Object.entries(SHAPES)) {
  takeover(`${name}: it is the dead one as of its last whole epoch, and goes on`, async () => {
    const pair = await Pair.start(`digest-${name}`, shape, DIGESTS, DIGESTS);
    try {
      await midway(pair, TICKS(30), 5);
      const taken = await pair.killed();
      const { records, last, cut } = taken;
      isRolledBack(pair, taken);
      const { standBy } = pair;
      const copy = makeDisk(join(root, `digest-${name}`), 'copy.raw');
      const image = new Epochs(standBy.ring, { memoryBytes: 0, disks: [copy] });
      const epochs: TakenEpoch[] = [];
      for (;;) {
        const wasEnded = standBy.exit !== null;
        for (let one = image.take(); one !== null; one = image.take()) epochs.push(one);
        if (wasEnded) break;
        await sleep(1);
      }
      await standBy.settle();
      assert.is(standBy.exit?.reason, 'ended', JSON.stringify(standBy.exit).slice(0, 500));
      const own = await standBy.records();
      const first = own[0];
      assert.is(first?.kind, KIND.DIGEST);
      assert.is(first?.ordinal, last.ordinal + 1n);
      assert.equal(readDigest(first?.payload ?? Buffer.alloc(0)), cut.digest);
      const console = consoleBefore(records, last.ordinal) + consoleBefore(own, 2n ** 63n);
      const ticks = [...console.matchAll(/^tick (\d+) (\w+)\r$/gm)];
      assert.equal(
        ticks.map(([, number, hash]) => `${number} ${hash}`),
        Array.from({ length: 30 }, (_, at) => `${at + 1} ${MIB_OF_ZEROS}`),
      );
      const cuts = cutsOf(own);
      assert.ok(epochs.length > 20, `${epochs.length} epochs of its own`);
      for (const { ordinal, number, ramDigest } of epochs) {
        assert.is(ramDigest, cuts.get(ordinal)?.digest?.ram, `its own epoch ${number}`);
      }
      image.close();
    } finally {
      await pair.end();
    }
  });
}

/** Migratable, and not exact: for threads of their own alone. */
const OLD_DEVICES: Shape = { vcpus: 4, accel: 'tcg-multi', diskInterface: 'ide', vga: true };
/** The 16 MiB of a VGA card are no main memory: they go through a file. */
const LIVE_MS_MAX = (shape: Shape): number => (shape.vga === true ? 200 : 50);

for (const [name, shape] of Object.entries({ ...SHAPES, 'IDE and VGA': OLD_DEVICES })) {
  takeover(`${name}: it waits idly, is live at once, and its disk is whole`, async () => {
    const pair = await Pair.start(`disk-${name}`, shape, FAST, NONE);
    try {
      const { standBy, disks } = pair;
      const { pid } = standBy.machine;
      const cpu = cpuNs(pid);
      const atNs = process.hrtime.bigint();
      await midway(pair, FILES(24), 8);
      const share = Number(cpuNs(pid) - cpu) / Number(process.hrtime.bigint() - atNs);
      const taken = await pair.killed();
      isRolledBack(pair, taken);
      console.log(
        `  waiting took ${(100 * share).toFixed(2)} % of a core, live ${taken.liveMs.toFixed(1)} ms ` +
          'after it was asked to',
      );
      assert.ok(share < 0.01, `waiting took ${share} of a core`);
      assert.ok(taken.liveMs < LIVE_MS_MAX(shape), `live after ${taken.liveMs} ms`);
      await until('it has ended', () => standBy.exit !== null);
      await standBy.settle();
      assert.is(standBy.exit?.reason, 'ended', JSON.stringify(standBy.exit).slice(0, 500));
      const own = consoleBefore(await standBy.records(), 2n ** 63n);
      const all = consoleBefore(taken.records, taken.last.ordinal) + own;
      assert.equal(
        numbersOfTicks(all),
        Array.from({ length: 24 }, (_, at) => at + 1),
      );
      assert.match(own, /^good 24 of 24\r$/m);
      execFileSync('e2fsck', ['-fn', disks[1]], { stdio: 'pipe' });
    } finally {
      await pair.end();
    }
  });
}

takeover.run();
