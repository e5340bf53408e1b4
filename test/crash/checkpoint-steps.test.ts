// SPDX-License-Identifier: Apache-2.0
/**
 * A recorder killed at each step of a checkpoint, and at random moments, while its guest
 * writes and a checkpoint is made every 20 ms: every checkpoint that is visible is whole,
 * and what the log has replays, from power-on and from the last of them.
 *
 *   SEED=N POINTS='rename' npm test crash/checkpoint-steps
 *
 * The seed chooses which passage of the place is fatal.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount } from '../../src/base/position.ts';
import { CheckpointFinder } from '../../src/checkpoint/manifest.ts';
import { Random } from '../../src/lab/random.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { childOf } from '../lib/child-of.ts';
import { type Running, runJson, scratch, start } from '../lib/command.ts';
import { killWithGdb, type Stop } from '../lib/gdb.ts';
import { writeVm } from '../lib/workload-vm.ts';
import { PLAIN, referenceGuest } from '../lib/workloads.ts';

interface KillPoint {
  readonly where: string;
  readonly stops: readonly Stop[];
  readonly library?: string;
}

/** In the order in which a checkpoint is made (qemu/exitlog/cut/checkpoint.c, -write.c). */
const KILL_POINTS: readonly KillPoint[] = [
  { where: 'it is begun', stops: [{ at: '*checkpoint_ram_collect' }] },
  { where: 'pages are copied', stops: [{ at: '*checkpoint_ram_copy' }] },
  { where: 'the guest stands still', stops: [{ at: '*checkpoint_canonical' }] },
  { where: 'its record is in the ring', stops: [{ at: '*checkpoint_state_take' }] },
  { where: 'the guest goes on', stops: [{ at: '*checkpoint_helper_write', finish: true }] },
  { where: 'the disks are to be written', stops: [{ at: '*checkpoint_disk_write' }] },
  { where: 'memory is to be written', stops: [{ at: '*checkpoint_ram_write' }] },
  { where: 'memory is written', stops: [{ at: '*checkpoint_ram_write', finish: true }] },
  { where: 'rename: all is synced', stops: [{ at: '*rename' }], library: 'libc' },
  { where: 'rename: visible', stops: [{ at: '*rename', finish: true }], library: 'libc' },
  { where: 'it is done', stops: [{ at: '*checkpoint_ram_forget' }] },
];
const PASSAGES_MAX = 12;
const RANDOM_MOMENTS = 4;
const RANDOM_MS_MAX = 1500;
const LOAD =
  'while :; do dd if=/dev/urandom of=/data/f bs=64k count=8 conv=fsync; done 2>/dev/null &';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const wanted = new RegExp(process.env.POINTS ?? '');
const random = new Random(seed);
const dir = scratch('checkpoint-steps');
const guest = await referenceGuest();
const crash = suite('a recorder dies');
const names = new Set<string>();

/** A recording whose guest writes to memory and disk, with two checkpoints already. */
async function recorded(name: string): Promise<{ out: string; running: Running }> {
  assert.not.ok(names.has(name));
  names.add(name);
  const own = join(dir, name);
  mkdirSync(own, { recursive: true });
  const workload = { name: 'steps', us: () => 'us.run=shell us.disk=1', disk: true } as const;
  await writeVm(workload, PLAIN, own, guest, null);
  const out = join(own, 'recording');
  const words = ['record', join(own, 'VM.toml'), '--out', out, '--checkpoint-every', '20ms'];
  const running = start(words, { timeoutMs: 300_000 });
  await running.printed('guest# ');
  running.child.stdin?.write(`${LOAD}\n`);
  const before = count(out);
  while (count(out) < before + 2) await sleep(20);
  return { out, running };
}

function count(out: string): number {
  return existsSync(join(out, 'checkpoints')) ? checkpointsOf(out).length : 0;
}

function qemuOf({ child }: Running): number {
  return childOf(child.pid, 'qemu-system');
}

async function isGood(out: string, again: string): Promise<void> {
  const visible = checkpointsOf(out);
  const last = visible.at(-1) ?? '';
  const finder = new CheckpointFinder(join(out, 'checkpoints'));
  for (const icount of visible) {
    const chain = await finder.chainBefore(atIcount(BigInt(icount)));
    assert.is(chain.at(-1)?.manifest.point, atIcount(BigInt(icount)), again);
  }
  assert.equal(finder.rejected, [], again);
  const whole = await runJson(['replay', out], { timeoutMs: 600_000 });
  assert.is(whole.code, 0, `${again}\n${whole.stderr}`);
  assert.is(whole.json.stopped_at, 'horizon', again);
  const part = await runJson(['replay', out, '--from', last], { timeoutMs: 600_000 });
  assert.is(part.code, 0, `${again}\n${part.stderr}`);
  assert.is(part.json.stopped_at, 'horizon', again);
  assert.is(String(part.json.icount), String(whole.json.icount), again);
  const from = String(part.json.started_at);
  // Made, but its record was with the recorder that died.
  const told = new RegExp(`checkpoint at icount ${last} is not used: the log does not have it`);
  if (from !== last) assert.match(part.stderr, told, again);
  assert.ok(visible.includes(from), `${again}: started at ${from}`);
}

for (const { where, stops, library } of KILL_POINTS) {
  const passage = 1 + random.below(PASSAGES_MAX);
  if (!wanted.test(where)) continue;
  crash(`step of a checkpoint: ${where}`, async () => {
    const again = `again with SEED=${seed} POINTS='${where}' npm test crash/checkpoint-steps`;
    const { out, running } = await recorded(where.replaceAll(/\W+/g, '-'));
    await killWithGdb({
      pid: qemuOf(running),
      stops,
      passage,
      ...(library === undefined ? {} : { library }),
      before: `kill -KILL ${running.child.pid}`,
      script: join(dir, 'gdb-script'),
      timeoutMs: 120_000,
    });
    assert.is((await running.done).signal, 'SIGKILL', again);
    const partial = readdirSync(join(out, 'checkpoints')).filter((name) => /partial$/.test(name));
    if (/to be written|synced/.test(where)) assert.is(partial.length, 1, again);
    await isGood(out, again);
  });
}

for (let n = 0; n < RANDOM_MOMENTS; n += 1) {
  const afterMs = random.below(RANDOM_MS_MAX);
  if (!wanted.test('random')) continue;
  crash(`at a random moment, ${n + 1} of ${RANDOM_MOMENTS}`, async () => {
    const again = `again with SEED=${seed} POINTS=random npm test crash/checkpoint-steps`;
    const { out, running } = await recorded(`random-${n}`);
    await sleep(afterMs);
    running.child.kill('SIGKILL');
    await running.done;
    await isGood(out, `${again} (${afterMs} ms)`);
  });
}

crash.run();
