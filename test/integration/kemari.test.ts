// SPDX-License-Identifier: Apache-2.0
/**
 * Epochs that end by events, and disk writes of which the guest hears with the commit of theirs.
 *
 *   npm test integration/kemari
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { Epochs } from '../../native/kvm-exit-log/testing.ts';
import { distance } from '../../src/base/position.ts';
import { CUT_EVENTS } from '../../src/epochs/events.ts';
import type { LogRecord } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { scratch } from '../lib/command.ts';
import { consoleBefore, cutsOf, EpochVm, MS, makeDisk } from '../lib/epoch-vm.ts';
import { HandLog } from '../lib/hand-log.ts';
import { FollowedVm, ImagePair, until } from '../lib/image-pair.ts';

const kemari = suite('kemari');
const root = scratch('kemari');
const SECONDS = 1000n * MS;
/** By time none is cut but the first. */
const OUTPUTS: EpochNumbers = {
  everyNs: 1000n * SECONDS,
  packetNs: 1000n * SECONDS,
  inFlight: 0,
  digests: true,
  events: ['NET_OUT', 'DISK_WRITE'],
};
/** Linux says hello to its neighbours. */
const NETWORK = 'us.ip=10.0.2.15/24 us.gw=10.0.2.2';

function folder(name: string): string {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** The time from now on. */
function quietFor(ms: number): () => boolean {
  const deadline = Date.now() + ms;
  return () => Date.now() > deadline;
}

const count = (records: readonly LogRecord[], kind: number): bigint =>
  BigInt(records.filter((record) => record.kind === kind).length);

/** How many instructions after each record of this kind the next cut was. */
function untilCut(records: readonly LogRecord[], kind: number): bigint[] {
  return records.flatMap((record, at) => {
    if (record.kind !== kind) return [];
    const cut = records.slice(at).find((one) => one.kind === KIND.CHECKPOINT);
    assert.ok(cut !== undefined, 'a cut follows');
    return [distance(record.point, cut.point)];
  });
}

/** A VM that runs to its end. */
async function run(name: string, words: string, numbers: EpochNumbers) {
  const followed = await FollowedVm.start(folder(name), words, numbers);
  const { vm, log } = followed;
  try {
    await followed.ends();
    const { events, epochs } = vm.ring.status();
    for (const { digest } of cutsOf(log.records).values()) assert.ok(digest, 'each cut has one');
    return { events, epochs, records: log.records };
  } finally {
    await followed.end();
  }
}

kemari('each packet and each write ends an epoch, and nothing else does', async () => {
  const { events, epochs, records } = await run(
    'outputs',
    `us.run=iozone-osync us.args=256k ${NETWORK}`,
    OUTPUTS,
  );
  assert.is(events.NET_OUT.happened, count(records, KIND.NET_OUT));
  assert.is(events.NET_IN.happened, count(records, KIND.NET_IN));
  assert.is(events.CHAR_OUT.happened, count(records, KIND.CHAR_OUT));
  assert.is(events.DISK_DONE.happened, count(records, KIND.BLK_DONE));
  assert.is(events.ENTROPY.happened, count(records, KIND.ENTROPY));
  assert.ok(events.NET_OUT.happened > 0n, 'packets');
  assert.ok(events.DISK_WRITE.happened > 64n, `${events.DISK_WRITE.happened} writes`);
  for (const [name, { cuts }] of Object.entries(events)) {
    if (name !== 'NET_OUT' && name !== 'DISK_WRITE') assert.is(cuts, 0n, name);
  }
  const caused = events.NET_OUT.cuts + events.DISK_WRITE.cuts;
  assert.is(epochs - caused, 2n, 'the first one and the last one were for no event');
  assert.ok(events.DISK_WRITE.cuts > 64n, `${events.DISK_WRITE.cuts} for writes`);
  for (const instructions of untilCut(records, KIND.NET_OUT)) {
    assert.ok(instructions < 1000n, `${instructions} instructions after a packet`);
  }
});

/** One datagram, in so many fragments. */
const BURST = 20;
const SENDS = `ping -c 1 -W 1 -s ${BURST * 1472} 10.0.2.2; exit\n`;
/**
 * Half of what ping waits for an answer. Before it sleeps the guest translates and executes
 * what it has not before, which on a slow host was 57 ms.
 */
const SOON_NS = 500n * MS;

kemari('packets of a burst gather, and are cut when the guest sleeps', async () => {
  const gathers = { ...OUTPUTS, events: ['NET_LONE', 'DISK_WRITE'] as const };
  const followed = await FollowedVm.start(folder('gathers'), `us.run=shell ${NETWORK}`, gathers);
  const { vm, log } = followed;
  try {
    await followed.until('the shell asks', () => log.console.includes('guest# '));
    const before = log.records.length;
    vm.type(SENDS);
    await followed.ends();
    const { events } = vm.ring.status();
    assert.is(events.NET_OUT.cuts, 0n);
    assert.ok(events.NET_LONE.cuts > 0n && events.NET_LONE.cuts <= events.NET_LONE.happened);
    const own = log.records.slice(before);
    const [sent, cuts] = [count(own, KIND.NET_OUT), count(own, KIND.CHECKPOINT)];
    assert.ok(sent >= BURST && cuts < sent / 2n, `${cuts} cuts for ${sent} packets`);
    // Held any longer, they would wait for an answer to what has not left.
    for (const [at, { kind, vtimeNs }] of own.entries()) {
      if (kind !== KIND.NET_OUT) continue;
      const cut = own.slice(at).find((one) => one.kind === KIND.CHECKPOINT);
      const waitedNs = cut === undefined ? null : cut.vtimeNs - vtimeNs;
      assert.ok(waitedNs !== null && waitedNs < SOON_NS, `it is cut after ${waitedNs} ns`);
    }
  } finally {
    await followed.end();
  }
});

kemari('every event ends one', async () => {
  const { events, records } = await run('every', `us.run=iozone-osync us.args=64k ${NETWORK}`, {
    ...OUTPUTS,
    events: CUT_EVENTS,
  });
  for (const name of ['NET_OUT', 'DISK_WRITE', 'DISK_DONE', 'TIMER', 'CHAR_OUT'] as const) {
    assert.ok(events[name].cuts > 0n, name);
    assert.ok(events[name].cuts <= events[name].happened, name);
  }
  for (const kind of [KIND.NET_IN, KIND.CHAR_IN, KIND.BLK_DONE, KIND.NET_OUT]) {
    for (const instructions of untilCut(records, kind)) {
      assert.ok(instructions < 1000n, `${instructions} instructions after a record ${kind}`);
    }
  }
});

const MARK = 'HELD-42-AND-ON';
const INTERFACES = [
  { diskInterface: 'virtio-blk', device: '/dev/vda' },
  { diskInterface: 'virtio-scsi', device: '/dev/sda' },
] as const;

/** Init mounts a disk of virtio-blk only. */
const WORDS = 'us.run=shell us.disk=';
const mounts = (device: string): string =>
  `while [ ! -e ${device} ]; do sleep 0.1; done; mkdir -p /data; mount -t ext4 ${device} /data; echo it is-$((1+1))-mounted\n`;
const writes = (device: string): string =>
  'echo HELD-$((6*7))-AND-ON >/data/held; sync; echo synced; umount /data; ' +
  `mount -t ext4 ${device} /data; cat /data/held; umount /data; exit\n`;

for (const { diskInterface, device } of INTERFACES) {
  kemari(`${diskInterface}: the guest hears of a write when its epoch is committed`, async () => {
    const dir = folder(`held-${diskInterface}`);
    const disk = makeDisk(dir);
    const vm = await EpochVm.start({
      dir,
      words: WORDS,
      numbers: { ...OUTPUTS, digests: false },
      diskInterface,
    });
    const image = new Epochs(vm.ring, { memoryBytes: 0, disks: [makeDisk(dir, 'copy.raw')] });
    const log = new HandLog(vm.ring);
    const look = (): void => {
      while (image.take() !== null);
      log.look();
    };
    try {
      await until('the shell asks', () => log.console.includes('guest# '), look);
      vm.type(mounts(device));
      await until('it is mounted', () => log.console.includes('is-2-mounted'), look);
      await until('it is quiet', quietFor(500), look);
      log.commits = false;
      look();
      const before = readFileSync(disk);
      const asked = vm.ring.status().events.DISK_WRITE.happened;
      vm.type(writes(device));
      await until('a write', () => vm.ring.status().events.DISK_WRITE.happened > asked, look);
      await until('it would be told', quietFor(500), look);
      const { point } = vm.ring.status();
      await sleep(100);
      assert.is(distance(point, vm.ring.status().point), 0n, 'the guest stands still');
      assert.not(readFileSync(disk).equals(before), 'the disk has it');
      assert.not.match(log.console, /synced\r\n/);
      log.commits = true;
      await until('it ends', () => vm.exit !== null, look);
      assert.match(log.console, new RegExp(`synced\\r\\n${MARK}`));
      assert.ok(readFileSync(disk).includes(MARK), 'all of it is there now');
    } finally {
      image.close();
      await vm.end();
    }
  });

  kemari(`${diskInterface}: who goes on from a cut issues what was in flight`, async () => {
    const dir = folder(`taken-${diskInterface}`);
    const common = { words: WORDS, diskInterface, digests: true } as const;
    const pair = await ImagePair.start({ dir, ...common, numbers: OUTPUTS });
    const { live, standBy, log, disks } = pair;
    try {
      live.type(mounts(device));
      await pair.until('it is mounted', () => log.console.includes('is-2-mounted'));
      const before = live.ring.status().events.DISK_WRITE.happened;
      log.commits = false;
      live.type(writes(device));
      await pair.until('a write', () => live.ring.status().events.DISK_WRITE.happened > before);
      await pair.until('its epoch is there', quietFor(300));
      await pair.kill();
      assert.not.match(log.console, /synced\r\n/);
      const taken = await pair.takeOver();
      const own = await standBy.records();
      assert.match(consoleBefore(own, 2n ** 63n), new RegExp(`synced\\r\\n${MARK}`));
      assert.is(own.filter(({ kind }) => kind === KIND.DIGEST).length > 0, true);
      assert.equal(
        own.find(({ kind }) => kind === KIND.DIGEST)?.ordinal,
        taken.ordinal + 1n,
        'the first it says is what it is',
      );
      execFileSync('e2fsck', ['-fn', disks[1]], { stdio: 'pipe' });
      assert.ok(readFileSync(disks[1]).includes(MARK));
    } finally {
      await pair.end();
    }
  });
}

kemari.run();
