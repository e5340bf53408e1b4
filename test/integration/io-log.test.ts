// SPDX-License-Identifier: Apache-2.0
/**
 * `disk = "io-log"`: an epoch has where in guest memory the data of disk writes lie, and what
 * comes to the backup's disk is what the guest wrote.
 *
 *   SEED=N npm test integration/io-log
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import type { TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { randomFrom } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { LEAVE, MS } from '../lib/epoch-vm.ts';
import { FollowedVm, ImagePair } from '../lib/image-pair.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const again = `again with SEED=${seed} npm test integration/io-log`;
const ioLog = suite('io-log');
const root = scratch('io-log');

/** As remus has it. */
const NO_LOG: EpochNumbers = { everyNs: 25n * MS, packetNs: MS, inFlight: 2, digests: false };
const VERSIONS: EpochNumbers = { ...NO_LOG, ioLog: true };
const REMUS: EpochNumbers = { ...VERSIONS, events: ['IO_LOG'] };
const KEMARI: EpochNumbers = {
  ...{ everyNs: 100n * MS, packetNs: 100n * MS, inFlight: 0, digests: true },
  ...{ events: ['NET_OUT', 'DISK_WRITE'], ioLog: true },
};

/** A VM that does this at its shell and ends; both disks are the same then. */
async function run(name: string, script: string, numbers: EpochNumbers) {
  const followed = await FollowedVm.start(join(root, name), 'us.run=shell', numbers);
  const { vm, log, taken } = followed;
  try {
    await followed.until('the shell asks', () => log.console.includes('guest# '));
    vm.type(`${script}; exit\n`);
    await followed.ends();
    const { events, epochReferences, epochVersions } = vm.ring.status();
    const sum = (of: (one: TakenEpoch) => number): number =>
      taken.reduce((all, one) => all + of(one), 0);
    const facts = {
      epochs: taken.length,
      bytes: sum((one) => one.bytes),
      diskBytes: sum((one) => one.diskBytes),
      references: Number(epochReferences),
      versions: Number(epochVersions),
      forced: Number(events.IO_LOG.cuts),
    };
    console.log(`  ${name}: ${JSON.stringify(facts)}`);
    return facts;
  } finally {
    await followed.end();
  }
}

ioLog('64 MB of random data cost less than 1 % of what their blocks do', async () => {
  const script = 'dd if=/dev/urandom of=/data/noise bs=64000 count=1000 conv=fsync';
  const blocks = await run('blocks', script, NO_LOG);
  const log = await run('references', script, REMUS);
  assert.ok(blocks.diskBytes >= 64e6, `${blocks.diskBytes} bytes as blocks`);
  assert.equal([blocks.references, blocks.versions], [0, 0]);
  const share = log.diskBytes / blocks.diskBytes;
  assert.ok(share < 0.01, `${log.diskBytes} of ${blocks.diskBytes} bytes`);
});

/** The buffer is filled again as soon as it is written. */
const AGAIN = 'dd if=/dev/urandom of=/data/noise bs=64k count=200 oflag=direct';
/** Filling it takes longer than an epoch: some of its pages are changed in the last one. */
const MIXED = 'dd if=/dev/urandom of=/data/noise bs=4M count=8 oflag=direct';

ioLog('data that are changed before the cut come to the disk as they were written', async () => {
  const { versions, references } = await run('again', AGAIN, { ...REMUS, digests: true });
  assert.ok(versions > 1000, `${versions} versions`);
  assert.ok(references > 0, 'the last of them is in memory');
});

ioLog('a write of changed and unchanged pages forces a cut, or does not', async () => {
  const forced = await run('forced', MIXED, REMUS);
  assert.ok(forced.forced > 0, 'cuts for one');
  const versions = await run('versions', MIXED, VERSIONS);
  assert.is(versions.forced, 0);
  assert.ok(versions.references > 0, 'it refers all the same');
});

ioLog('where each write is a cut there is nothing to compare with', async () => {
  const script = `${AGAIN}; dd if=/dev/urandom of=/data/more bs=64k count=8 conv=fsync`;
  const { versions, references, forced } = await run('kemari', script, KEMARI);
  assert.equal([versions, forced], [0, 0]);
  assert.ok(references > 200, `${references} references`);
});

/** All of it again from the disk, to be compared with what is in memory. */
const COPIED =
  'dd if=/dev/urandom of=/tmp/noise bs=1M count=16; echo begun-$((1+1)); ' +
  'cp /tmp/noise /data/copied; dd if=/tmp/noise of=/data/direct bs=256k oflag=direct; sync; ' +
  'echo 3 >/proc/sys/vm/drop_caches; ' +
  'cmp /tmp/noise /data/copied && cmp /tmp/noise /data/direct && echo same-$((6*7)); ' +
  LEAVE;

for (const [name, numbers] of Object.entries({ remus: REMUS, kemari: KEMARI })) {
  ioLog(`${name}: who goes on after a kill finds on its disk what was written`, async () => {
    const dir = join(root, `killed-${name}`);
    mkdirSync(dir, { recursive: true });
    const pair = await ImagePair.start({ dir, words: 'us.run=shell', numbers, digests: false });
    try {
      pair.live.type(COPIED);
      await pair.until('it copies', () => pair.log.console.includes('begun-2'));
      const killAt = Date.now() + random() * 800;
      await pair.until('it is its time', () => Date.now() > killAt);
      await pair.kill();
      assert.not(pair.log.console.includes('same-42'), `it was killed too late; ${again}`);
      await pair.takeOver();
      assert.match(pair.standBy.console, /same-42/, again);
      execFileSync('e2fsck', ['-fn', pair.disks[1]], { stdio: 'pipe' });
    } finally {
      await pair.end();
    }
  });
}

ioLog('a pair: nothing is lost when the primary is killed, and status has the counts', async () => {
  const replication = ['protocol = "remus"', 'disk = "io-log"', 'durability = "disk"'];
  const dir = join(root, 'pair');
  const pair = Pair.start(dir, await referenceGuest(), replication);
  try {
    await pair.until('it listens', () => pair.console('primary').includes('listening'));
    const load = new NumberedLoad(pair, seed, 4);
    await load.more(200);
    const status = (await pair.status('primary')) ?? {};
    const { disk_references: references, disk_bytes_total: bytes, state_bytes_total: all } = status;
    assert.ok(Number(references) > 0, `${references} references`);
    assert.ok(Number(bytes) > 0 && Number(all) > Number(bytes), `${bytes} of ${all} bytes`);
    pair.signal('primary', 'SIGKILL');
    await load.more(200);
    await load.finish();
    assert.is((await pair.status('backup'))?.state, 'needs-backup');
  } finally {
    await pair.end();
  }
});

ioLog.run();
