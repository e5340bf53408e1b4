// SPDX-License-Identifier: Apache-2.0
/**
 * Epochs of a running guest: what goes through the ring of state makes an image that is,
 * at each cut, the guest's memory.
 *
 *   npm test integration/epochs
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Courier, type EpochNumbers, type ExitRing } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { RECORDER } from '../../src/epochs/lockstep.ts';
import { readDigest } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { Machine } from '../../src/vm/machine.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { scratch } from '../lib/command.ts';
import { referenceGuest } from '../lib/workloads.ts';

const epochs = suite('epochs');
const guest = await referenceGuest();
const qemu = await findQemu();
const root = scratch('epochs');
const VM_ID = Buffer.alloc(16, 0x5e);
const MS = 1_000_000n;
const STATE_BYTES = 16 * 1024 * 1024;

interface Run {
  readonly taken: readonly TakenEpoch[];
  readonly dir: string;
  readonly status: ReturnType<ExitRing['status']>;
}

/** Starts a VM whose epochs are cut so, takes them as they come, until it ends. */
async function run(name: string, words: string, numbers: EpochNumbers, vcpus = 1): Promise<Run> {
  const dir = join(root, name);
  mkdirSync(dir);
  execFileSync('cp', ['--sparse=always', guest.disk_template, join(dir, 'disk.raw')]);
  const toml = [
    `name = "${name}"`,
    `vcpus = ${vcpus}`,
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(`${guest.append} us.disk=1 ${words}`)}`,
    '[[disk]]',
    'image = "disk.raw"',
    '[[nic]]',
    'user = true',
  ].join('\n');
  writeFileSync(join(dir, 'vm.toml'), toml);
  const machine = await Machine.start({
    config: loadConfig(join(dir, 'vm.toml')),
    qemu,
    logger: silentLogger(),
    args: { mode: 'record', rtcBase: '2026-11-21T07:00:00', net: 'configured' },
    ring: { stateBytes: STATE_BYTES },
  });
  const { ring } = machine;
  ring.setEpochs(numbers);
  const image = new Epochs(ring);
  const log = new LogFile(join(dir, 'log'), { vmId: VM_ID, term: 1, qemuBuildId: qemu.buildId });
  const failed = (...why: unknown[]): void => assert.unreachable(why.join(' '));
  const courier = new Courier(ring, {
    first: failed,
    logFailed: failed,
    broken: failed,
    progress: () => {},
    console: () => {},
  });
  courier.ship({
    vmId: VM_ID,
    term: 1,
    acksNeeded: RECORDER.commit,
    durable: false,
    seal: RECORDER.seal,
    log: log.start,
  });
  const taken: TakenEpoch[] = [];
  let ended = false;
  void machine.exited.then(() => {
    ended = true;
  });
  for (;;) {
    const wasEnded = ended;
    for (let one = image.take(); one !== null; one = image.take()) taken.push(one);
    if (wasEnded) break;
    await sleep(1);
  }
  const exit = await machine.exited;
  assert.is(exit.reason, 'ended', JSON.stringify(exit).slice(0, 500));
  const status = ring.status();
  await courier.flush();
  await courier.close();
  log.close();
  await machine.end();
  return { taken, dir, status };
}

/** QEMU's digest of memory at each cut, by the ordinal of its CHECKPOINT record. */
async function digestsOf(dir: string): Promise<Map<bigint, bigint>> {
  const digests = new Map<bigint, bigint>();
  let ram: bigint | null = null;
  for await (const { batch } of new LogReader(join(dir, 'log'))) {
    for (const { kind, payload, ordinal } of batch.records()) {
      if (kind === KIND.DIGEST && payload !== null) ram = readDigest(payload).ram;
      if (kind !== KIND.CHECKPOINT) continue;
      assert.ok(ram !== null, `a digest comes before record ${ordinal}`);
      digests.set(ordinal, ram);
    }
  }
  return digests;
}

async function equalAtEachCut({ taken, dir, status }: Run, epochsMin: number): Promise<void> {
  const digests = await digestsOf(dir);
  assert.ok(taken.length >= epochsMin, `${taken.length} epochs`);
  assert.is(taken.length, digests.size);
  assert.is(taken.length, Number(status.epochs));
  taken.forEach(({ number, ordinal, ramDigest }, at) => {
    assert.is(number, BigInt(at + 1));
    assert.is(ramDigest, digests.get(ordinal), `epoch ${number} of ${taken.length}`);
  });
  const { epochs: count, epochPages, epochPauseNs, epochPauseNsMax } = status;
  const bytes = taken.reduce((sum, one) => sum + one.bytes, 0);
  console.log(
    `  ${count} epochs, ${epochPages / count} pages and ${Math.round(bytes / taken.length)} bytes ` +
      `each, pause ${Number(epochPauseNs / count) / 1e6} ms, at most ` +
      `${Number(epochPauseNsMax) / 1e6} ms; digests are in it`,
  );
}

const OFTEN: EpochNumbers = { everyNs: 10n * MS, packetNs: 2n * MS, inFlight: 2, digests: true };

epochs('a guest that writes to its disk', async () => {
  await equalAtEachCut(await run('disk', 'us.run=iozone-fsync us.args=8m', OFTEN), 50);
});

epochs('four vCPUs, O_SYNC', async () => {
  await equalAtEachCut(await run('vcpus', 'us.run=iozone-osync us.args=1m', OFTEN, 4), 50);
});

epochs.run();
