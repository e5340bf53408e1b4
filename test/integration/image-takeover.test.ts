// SPDX-License-Identifier: Apache-2.0
/**
 * A QEMU that waits beside an image takes over from a VM that is killed in the middle of an
 * epoch: it goes on from the last whole one.
 *
 *   npm test integration/image-takeover
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL, type EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { Random } from '../../src/lab/random.ts';
import { readDigest } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { scratch } from '../lib/command.ts';
import {
  consoleBefore,
  cutsOf,
  EpochVm,
  type EpochVmOptions,
  MEMORY_BYTES,
  MS,
  makeDisk,
} from '../lib/epoch-vm.ts';

const takeover = suite('image takeover');
const root = scratch('image-takeover');
const seed = Number(process.env.UNDERSTUDY_SEED ?? Date.now() % 100_000);
const random = new Random(seed);
console.log(`  UNDERSTUDY_SEED=${seed}`);

const PAGE = 4096;
const CHUNK = 1 << 20;
const MIB_OF_ZEROS = createHash('md5')
  .update(Buffer.alloc(1 << 20))
  .digest('hex');

const WORDS = 'us.run=shell';

const DIGESTS: EpochNumbers = { everyNs: 10n * MS, packetNs: 2n * MS, inFlight: 4, digests: true };
const FAST: EpochNumbers = { ...DIGESTS, everyNs: 25n * MS, digests: false };
const NONE: EpochNumbers = { ...FAST, everyNs: 0n };

async function waiting(options: EpochVmOptions): Promise<EpochVm> {
  const vm = await EpochVm.start(options);
  await until('it waits', () => vm.ring.status().state === 'waiting' || vm.exit !== null);
  assert.is(vm.exit, null);
  return vm;
}

/** The pair: a VM, its image, and who waits beside that. */
class Pair {
  readonly live: EpochVm;
  readonly image: Epochs;
  readonly standBy: EpochVm;
  readonly file: string;
  readonly disks: readonly [string, string];
  last: TakenEpoch | null = null;
  #taking = true;
  #taker: Promise<void>;

  private constructor(
    live: EpochVm,
    image: Epochs,
    standBy: EpochVm,
    file: string,
    disks: readonly [string, string],
  ) {
    this.live = live;
    this.image = image;
    this.standBy = standBy;
    this.file = file;
    this.disks = disks;
    this.#taker = this.#take();
  }

  /** @param after the stand-by's own epochs, when it has taken over */
  static async start(name: string, vcpus: number, numbers: EpochNumbers, after: EpochNumbers) {
    const dir = join(root, name);
    const there = join(dir, 'stand-by');
    mkdirSync(there, { recursive: true });
    const disks = [makeDisk(dir), makeDisk(there)] as const;
    const live = await EpochVm.start({ dir, words: WORDS, numbers, vcpus });
    live.logs();
    const image = new Epochs(live.ring, { memoryBytes: MEMORY_BYTES, disks: [disks[1]] });
    const file = join(there, 'image');
    const options = { dir: there, words: WORDS, numbers: after, vcpus };
    const standBy = await waiting({ ...options, image: { memoryFd: image.memoryFd, file } });
    return new Pair(live, image, standBy, file, disks);
  }

  /** One more that waits, beside an image of its own. */
  async another(): Promise<EpochVm> {
    const dir = mkdtempSync(join(root, 'another-'));
    makeDisk(dir);
    const own = new Epochs(this.live.ring, { memoryBytes: MEMORY_BYTES, disks: [] });
    const image = { memoryFd: own.memoryFd, file: this.file };
    const vm = await waiting({ dir, words: WORDS, numbers: NONE, image });
    own.close();
    return vm;
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

  /** Pages of the live one's memory that are not as in the image. */
  #pagesAhead(): number {
    const live = openSync(`/proc/${this.live.machine.pid}/mem`, 'r');
    const maps = readFileSync(`/proc/${this.live.machine.pid}/maps`, 'latin1');
    const ram = [...maps.matchAll(/^(\w+)-(\w+) rw/gm)]
      .map(([, from, to]) => [Number(`0x${from}`), Number(`0x${to}`)] as const)
      .find(([from, to]) => to - from === MEMORY_BYTES);
    assert.ok(ram !== undefined, 'its QEMU has such memory');
    const [ours, theirs] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)];
    let ahead = 0;
    for (let at = 0; at < MEMORY_BYTES; at += CHUNK) {
      readSync(this.image.memoryFd, ours, 0, CHUNK, at);
      readSync(live, theirs, 0, CHUNK, ram[0] + at);
      if (ours.equals(theirs)) continue;
      for (let page = 0; page < CHUNK; page += PAGE) {
        if (ours.compare(theirs, page, page + PAGE, page, page + PAGE) !== 0) ahead++;
      }
    }
    closeSync(live);
    return ahead;
  }

  /** Kills the live one; the stand-by is it from then on. */
  async killed() {
    const { pid } = this.live.machine;
    let pagesAhead = 0;
    // Not right after a cut.
    for (let tries = 0; pagesAhead === 0; tries++) {
      assert.ok(tries < 20, 'it is never ahead of its last whole epoch');
      process.kill(pid, 'SIGCONT');
      await sleep(random.below(20));
      process.kill(pid, 'SIGSTOP');
      await sleep(20); // all that is there of its epochs is taken
      pagesAhead = this.#pagesAhead();
    }
    process.kill(pid, 'SIGKILL');
    await this.live.settle();
    await this.#takenAll();
    const records = await this.live.records();
    const last = this.last;
    assert.ok(last !== null, 'an epoch was committed');
    const cut = cutsOf(records).get(last.ordinal);
    assert.ok(cut !== undefined, 'its CHECKPOINT is in the log');
    const { ring } = this.standBy;
    const third = makeCopy(this.disks[1]);
    const startNs = process.hrtime.bigint();
    this.image.handOver(this.file);
    ring.startAt(last.ordinal + 1n, cut.dataEnd);
    ring.control(CONTROL.GO_LIVE);
    await until('it is live', () => ring.status().state !== 'waiting');
    assert.is(ring.status().state, 'recording', ring.status().error);
    this.image.close();
    this.standBy.logs();
    const liveMs = Number(ring.status().liveAtNs - startNs) / 1e6;
    return { records, last, cut, liveMs, third, pagesAhead };
  }

  async #takenAll(): Promise<void> {
    this.#taking = false;
    await this.#taker;
  }

  async end(): Promise<void> {
    await this.#takenAll();
    await this.standBy.end();
    await this.live.end();
  }
}

function makeCopy(disk: string): string {
  const copy = `${disk}.copy`;
  execFileSync('cp', ['--sparse=always', disk, copy]);
  return copy;
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
  'done; exit\n';

/** Files whose content is known by its hash only; read again from the disk at the end. */
const FILES = (count: number): string =>
  `cd /data; n=0; while [ $n -lt ${count} ]; do n=$((n+1)); ` +
  'dd if=/dev/urandom of=f$n bs=4k count=32 conv=fsync 2>/dev/null; md5sum f$n >>sums; ' +
  'sync; echo tick $n $?; done; cd /; umount /data; mount -t ext4 /dev/vda /data; cd /data; ' +
  'md5sum -c sums >/tmp/o; echo good $(grep -c OK /tmp/o) of $(wc -l </tmp/o); cd /; exit\n';

const numbersOfTicks = (console: string): number[] =>
  [...console.matchAll(/^tick (\d+) \w+\r$/gm)].map((match) => Number(match[1]));

async function midway({ live }: Pair, script: string, ticksMin: number): Promise<void> {
  await until('the shell asks', () => live.console.includes('guest# '));
  live.type(script);
  await until(`${ticksMin} ticks`, () => numbersOfTicks(live.console).length >= ticksMin);
  await sleep(random.below(200));
}

for (const vcpus of [1, 4]) {
  takeover(
    `${vcpus} vCPU: it is the dead one as of its last whole epoch, and goes on`,
    async () => {
      const pair = await Pair.start(`digest-${vcpus}`, vcpus, DIGESTS, DIGESTS);
      try {
        await midway(pair, TICKS(30), 5);
        const taken = await pair.killed();
        const { records, last, cut } = taken;
        const { standBy } = pair;
        const image = new Epochs(standBy.ring, { memoryBytes: 0, disks: [taken.third] });
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
        assert.ok(
          readFileSync(taken.third).equals(readFileSync(pair.disks[1])),
          'its disk goes on',
        );
      } finally {
        await pair.end();
      }
    },
  );
}

for (const vcpus of [1, 4]) {
  takeover(`${vcpus} vCPU: it waits idly, is live at once, and its disk is whole`, async () => {
    const pair = await Pair.start(`disk-${vcpus}`, vcpus, FAST, NONE);
    try {
      const { standBy, disks } = pair;
      const { pid } = standBy.machine;
      const cpu = cpuNs(pid);
      const atNs = process.hrtime.bigint();
      await midway(pair, FILES(24), 8);
      const share = Number(cpuNs(pid) - cpu) / Number(process.hrtime.bigint() - atNs);
      const taken = await pair.killed();
      console.log(
        `  waiting took ${(100 * share).toFixed(2)} % of a core, live ${taken.liveMs.toFixed(1)} ms ` +
          `after it was asked to, ${taken.pagesAhead} pages back`,
      );
      assert.ok(share < 0.01, `waiting took ${share} of a core`);
      await sleep(100);
      const behindMs = Number(standBy.ring.status().clockBehindNs) / 1e6;
      console.log(`  its clock is ${behindMs.toFixed(1)} ms behind`);
      assert.ok(Math.abs(behindMs) < 50, `its clock is ${behindMs} ms behind`);
      assert.ok(taken.liveMs < 50, `live after ${taken.liveMs} ms`);
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

/** What is done to a good image, and what QEMU says of it. */
const BAD_IMAGES: readonly (readonly [string, (good: Buffer) => Buffer | null, RegExp])[] = [
  ['that is not there', () => null, /cannot open the image/],
  ['that is empty', (good) => good.subarray(0, 0), /an image is cut short/],
  ['whose end is missing', (good) => good.subarray(0, -32), /an image is cut short/],
  ['that ends in a piece', (good) => good.subarray(0, 1000), /an image is cut short/],
  ['of another machine', (good) => good.fill('x', 32, 40), /has no memory 'xxxxxxxx/],
  [
    'whose devices are damaged',
    (good) => good.fill('x', good.length - 60, good.length - 50),
    /state of devices is none/,
  ],
  ['of another moment', (good) => good, /the log goes on at record \d+, the image at \d+/],
];

takeover('an image that is none is refused by name', async () => {
  const pair = await Pair.start('bad', 1, FAST, NONE);
  try {
    await until('an epoch', () => pair.last !== null);
    pair.image.handOver(pair.file);
    const good = readFileSync(pair.file);
    for (const [what, spoil, why] of BAD_IMAGES) {
      rmSync(pair.file, { force: true });
      const bytes = spoil(Buffer.from(good));
      if (bytes !== null) writeFileSync(pair.file, bytes);
      const standBy = await pair.another();
      standBy.ring.startAt((pair.last?.ordinal ?? 0n) + 100n, 0n);
      standBy.ring.control(CONTROL.GO_LIVE);
      await until(`it refuses one ${what}`, () => standBy.exit !== null);
      assert.match(`${standBy.exit?.shmError}`, why, `${what}: ${standBy.exit?.shmError}`);
      await standBy.end();
    }
  } finally {
    await pair.end();
  }
});

takeover.run();
