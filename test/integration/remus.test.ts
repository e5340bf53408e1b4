// SPDX-License-Identifier: Apache-2.0
/**
 * `protocol = "remus"` on real pairs: nothing leaves before its epoch is committed, the backup
 * executes nothing until it takes over, and what was of no committed epoch is undone.
 *
 *   SEED=N npm test integration/remus
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { icountOf } from '../../src/base/position.ts';
import { requestFrame } from '../../src/lab/frames.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { scratch } from '../lib/command.ts';
import { playDemo } from '../lib/demo.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { isOneLog, protectedLog } from '../lib/stored-log.ts';
import { referenceGuest } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/remus`;
const root = scratch('remus');
const remus = suite('remus');
const REMUS = ['protocol = "remus"'];
/** Nobody is declared dead because a test has stopped it. */
const PATIENT = [
  ...REMUS,
  'heartbeat_ms = 10000',
  'heartbeat_missed = 100',
  'stuck_ms_max = 3600000',
];

for (const fault of ['primary', 'backup'] as const) {
  remus(`the ${fault} is killed: nothing is lost, on the same connection`, async () => {
    const words = ['--protocol', 'remus', '--fault', fault, '--seed', String(seed)];
    const { code, json, stderr } = await playDemo([
      ...words,
      ...['--seconds-before', '1', '--seconds-after', '1'],
    ]);
    assert.is(code, 0, `${json?.problem ?? ''} ${again}\n${stderr}`);
    assert.equal([json?.lost, json?.corrupted, json?.reconnects, json?.disk_ok], [0, 0, 0, true]);
    assert.ok((json?.requests ?? 0) > 20, `only ${json?.requests} requests`);
    assert.is(json?.survivor, fault === 'primary' ? 'backup' : 'primary');
  });
}

/** A pair whose service answers, and who asked it. */
async function serving(name: string, replication: readonly string[]) {
  const pair = Pair.start(join(root, name), await referenceGuest(), replication);
  await pair.until('the service listens', () => pair.console('primary').includes('listening'));
  return pair;
}

async function numberOf(pair: Pair, side: Side, fact: string): Promise<number> {
  return Number((await pair.status(side))?.[fact]);
}

async function icountIn(pair: Pair, side: Side): Promise<number> {
  const status = await pair.status(side);
  return (status?.position as { icount: number } | undefined)?.icount ?? Number.NaN;
}

remus('without the ack of its epoch nothing leaves, and the guest waits', async () => {
  const pair = await serving('commit', PATIENT);
  try {
    const wire = pair.connect(7);
    await pair.until('it connects', () => wire.connected);
    wire.send(requestFrame(1, 0));
    await pair.until('an answer', () => wire.received.equals(requestFrame(1, 0)));
    await sleep(300); // delayed acks of TCP are out

    pair.signal('backup', 'SIGSTOP');
    await sleep(200); // acks under way have arrived
    const packets = pair.packetsFrom('primary');
    const shown = pair.console('primary');
    wire.send(requestFrame(1, 1));
    const other = pair.connect(7);
    other.send('x'.repeat(64)); // us-server says so on the console
    await sleep(1500);
    const status = await pair.status('primary');
    assert.is(status?.state, 'protected', 'nobody is declared dead');
    const stood = await icountIn(pair, 'primary');
    await sleep(500);
    assert.is(await icountIn(pair, 'primary'), stood, 'epochs in flight are bounded');
    assert.is(pair.packetsFrom('primary'), packets, 'packets out of the tap');
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup');
    assert.is(pair.console('primary'), shown, 'console bytes');
    assert.is(other.connected, false);

    pair.signal('backup', 'SIGCONT');
    const both = Buffer.concat([requestFrame(1, 0), requestFrame(1, 1)]);
    await pair.until('the answer leaves', () => wire.received.equals(both));
    await pair.until('the other connects', () => other.connected);
    await pair.until('the console line leaves', () =>
      pair.console('primary').includes('connection dropped'),
    );
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup, after all');
    for (const one of [wire, other]) one.end();
  } finally {
    pair.signal('backup', 'SIGCONT');
    await pair.end();
  }
});

/** CPU time of a process, s. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Where the guest of a daemon is, though the daemon is stopped: its ring says so. */
function icountInRing(daemon: number): number {
  const folder = `/proc/${daemon}/fd`;
  const name = readdirSync(folder).find((fd) =>
    readlinkSync(join(folder, fd)).startsWith('/memfd:understudy-ring'),
  );
  assert.ok(name !== undefined, 'the daemon has a ring');
  const fd = openSync(join(folder, name), 'r');
  const word = Buffer.alloc(8);
  readSync(fd, word, 0, 8, SHM_ICOUNT);
  closeSync(fd);
  return Number(word.readBigUInt64LE());
}

/** offsetof(struct exitlog_shm, icount), as test/native/abi.test.ts has it. */
const SHM_ICOUNT = 416;

/** The last end of an epoch before the take-over, and the first record after it. */
async function takenOverAt(dir: string): Promise<{ cut: number; next: number }> {
  let cut = Number.NaN;
  for await (const { batch } of new LogReader(dir, { tail: 'torn' })) {
    for (const { kind, channel, point } of batch.records()) {
      const at = Number(icountOf(point));
      if (batch.header.term > 1) return { cut, next: at };
      if (kind === KIND.CHECKPOINT && channel === 1) cut = at;
    }
  }
  throw new Error('its log has no second term');
}

remus('the backup executes nothing; the survivor goes on where the last epoch ended', async () => {
  const pair = await serving('rollback', PATIENT);
  try {
    const load = new NumberedLoad(pair, seed, 8);
    await load.more(50);
    const waiting = await numberOf(pair, 'backup', 'qemu_pid');
    const [fromS, fromMs] = [cpuSeconds(waiting), Date.now()];
    await sleep(4000);
    await load.more(1);
    const share = ((cpuSeconds(waiting) - fromS) * 1000) / (Date.now() - fromMs);
    assert.ok(share < 0.01, `the backup's QEMU used ${(share * 100).toFixed(2)} % of a core`);
    assert.is((await pair.status('backup'))?.qemu_state, 'waiting');
    const epoch = await numberOf(pair, 'backup', 'image_epoch');
    assert.ok(epoch > 10, `its image is of epoch ${epoch}`);
    const cuts = await numberOf(pair, 'primary', 'cuts');
    assert.ok(cuts >= epoch, `${cuts} epochs were cut`);

    const daemon = await numberOf(pair, 'primary', 'pid');
    const before = await icountIn(pair, 'primary');
    // From here on nothing is shipped, and the guest runs on until too much is uncommitted.
    pair.signal('primary', 'SIGSTOP');
    await sleep(500);
    const died = icountInRing(daemon);
    assert.ok(died > before, `${died} is where its guest is, after ${before}`);
    pair.signal('primary', 'SIGKILL');
    await pair.until('it took over', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
    await load.more(50);
    await load.finish();
    const log = protectedLog(pair.stateDir('backup'));
    await isOneLog(log);
    const { cut, next } = await takenOverAt(log);
    assert.ok(cut < died, `the dead guest was at ${died}, its last whole epoch ended at ${cut}`);
    assert.ok(next < died, `the survivor went on from ${next}, before ${died}`);
    assert.ok(pair.packetsFrom('backup') > 0);
  } finally {
    await pair.end();
  }
});

remus.run();
