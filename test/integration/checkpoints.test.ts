// SPDX-License-Identifier: Apache-2.0
/**
 * Bounded replay on the real QEMU: from checkpoints under mixed load, from a damaged
 * one, and a recording whose checkpoints find no room.
 *
 *   SEED=N npm test integration/checkpoints
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkpointsOf, manifestOf, ramRuns, verifyFromCheckpoints } from '../lib/checkpoints.ts';
import { run, runJson, scratch, start } from '../lib/command.ts';
import { recordAndReplay, referenceGuest, WORKLOADS } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/checkpoints`;
const dir = scratch('checkpoints');
const guest = await referenceGuest();
/** Three virtio devices; with all queues that they may have it would be 150 KB. */
const STATE_BYTES_MAX = 20_000;
const bounded = suite('bounded replay');

const recording = join(dir, 'mixed', 'recording');

bounded('typing, disk, network: every digest from checkpoints as from power-on', async () => {
  const mixed = WORKLOADS.find(({ name }) => name === 'mixed');
  assert.ok(mixed !== undefined);
  const result = await recordAndReplay(mixed, {
    dir: join(dir, 'mixed'),
    guest,
    seed,
    checkpointEvery: '400ms',
  });
  assert.is(result.skipped, undefined, 'run it as root');
  assert.ok(result.ok, `${result.failure}\n${again}`);
  const all = checkpointsOf(recording);
  assert.ok(all.length >= 5, `${all.length} checkpoints`);
  const state = statSync(join(recording, 'checkpoints', all[0] ?? '', 'state'));
  assert.ok(state.size < STATE_BYTES_MAX, `${state.size} bytes of CPU and devices`);
  for (const { icount, failure } of await verifyFromCheckpoints(recording, 4)) {
    assert.is(failure, null, `from ${icount}: ${failure}\n${again}`);
  }
});

bounded('--until ends a replay that began at a checkpoint', async () => {
  const icount = checkpointsOf(recording).at(-2) ?? '';
  const until = String(BigInt(icount) + 1_000_000n);
  const words = ['replay', recording, '--from', icount, '--until', until];
  const { code, json, stderr } = await runJson(words);
  assert.is(code, 0, stderr);
  assert.is(json.stopped_at, 'until');
  assert.is(String(json.started_at), icount);
});

bounded('--until alone starts at the newest checkpoint, with --verify at power-on', async () => {
  const all = checkpointsOf(recording);
  const [first = '', second = ''] = all;
  const until = String(BigInt(second) - 1n);
  const seek = await runJson(['replay', recording, '--until', until]);
  assert.is(seek.code, 0, seek.stderr);
  assert.is(String(seek.json.started_at), first);
  assert.is(String(seek.json.icount), until);
  for (const words of [['--verify'], ['--from', '0']]) {
    const { code, json, stderr } = await runJson(['replay', recording, '--until', until, ...words]);
    assert.is(code, 0, stderr);
    assert.is(json.started_at, null);
    assert.is(json.vtime_ns, seek.json.vtime_ns);
  }
});

bounded('what makes no sense is refused', async () => {
  const early = await run(['replay', recording, '--from', '2000', '--until', '1000']);
  assert.is(early.code, 2);
  const bisect = await run(['replay', recording, '--from', '2000', '--bisect']);
  assert.is(bisect.code, 2);
  const never = await run(['record', 'VM.toml', '--out', 'x', '--checkpoint-every', 'often']);
  assert.is(never.code, 2);
  assert.match(never.stderr, /10s/);
});

bounded('a flipped bit: the next older checkpoint, and it is said', async () => {
  const all = checkpointsOf(recording);
  const [older = '', newest = ''] = all.slice(-2);
  const file = join(recording, 'checkpoints', newest, 'ram');
  const bytes = readFileSync(file);
  const packed = ramRuns(recording, newest).find(
    ({ stored, bytes }) => stored > 0 && stored < bytes,
  );
  assert.ok(packed !== undefined);
  const at = packed.at + (packed.stored >> 1);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(file, bytes);
  const { code, json, stderr } = await runJson(['replay', recording, '--from', newest, '--verify']);
  assert.is(code, 0, stderr);
  assert.is(String(json.started_at), older);
  assert.is(json.verified, true);
  assert.match(stderr, new RegExp(`checkpoint at icount ${newest} is not used: ram does not have`));
  assert.match(stderr, new RegExp(`starting at the checkpoint at icount ${older}`));
});

bounded('noise, repetition and zeros come back from memory as they were', async () => {
  const toml = join(dir, 'noise.toml');
  writeFileSync(
    toml,
    `name = "noise"\nkernel = ${JSON.stringify(guest.kernel)}\n` +
      `initrd = ${JSON.stringify(guest.initrd)}\nappend = "${guest.append} us.run=shell"\n`,
  );
  const out = join(dir, 'noise');
  const running = start(['record', toml, '--out', out, '--checkpoint-every', '300ms']);
  await running.printed('guest# ');
  const lines = [
    // The root is in memory.
    'head -c 6000000 /dev/urandom >/noise; yes repetition | head -c 6000000 >/same',
    'head -c 6000000 /dev/zero >/zeros; md5sum /noise /same /zeros; echo laid-$((1))-out',
    'sleep 1; head -c 3000000 /dev/zero >/noise; cp /same /zeros; sleep 1',
    'md5sum /noise /same /zeros; exit',
  ];
  running.child.stdin?.write(`${lines.join('\n')}\n`);
  await running.printed('laid-1-out');
  const first = checkpointsOf(out).length;
  const { code, stderr } = await running.done;
  assert.is(code, 0, stderr);
  const all = checkpointsOf(out);
  assert.ok(all.length - first >= 3, `${first} of ${all.length} checkpoints`);
  const runs = all.flatMap((icount) => ramRuns(out, icount));
  const sum = (list: typeof runs, of: 'bytes' | 'stored') =>
    list.reduce((total, run) => total + run[of], 0);
  const asItIs = runs.filter(({ stored, bytes }) => stored === bytes);
  assert.ok(sum(asItIs, 'bytes') > 4e6, `${sum(asItIs, 'bytes')} bytes as they are`);
  const packed = runs.filter(({ stored, bytes }) => stored > 0 && stored < bytes);
  const factor = sum(packed, 'bytes') / sum(packed, 'stored');
  assert.ok(factor > 2, `${sum(packed, 'stored')} bytes are ${factor} times as many`);
  assert.ok(runs.some(({ stored }) => stored === 0));
  for (const { icount, failure } of await verifyFromCheckpoints(out, 4)) {
    assert.is(failure, null, `from ${icount}: ${failure}`);
  }
});

bounded('a chain ends when it has become long to read', async () => {
  const toml = join(dir, 'noise.toml');
  const out = join(dir, 'long');
  // By instructions: on a slow host a checkpoint every so many ms has little, and 30 of them
  // are a chain before they are long to read.
  const running = start(['record', toml, '--out', out, '--checkpoint-every', '3e8i']);
  await running.printed('guest# ');
  // The root is in memory.
  const write = 'head -c 20000000 /dev/urandom >/noise';
  running.child.stdin?.write(`for n in 1 2 3; do ${write}; done; exit\n`);
  const { code, stderr } = await running.done;
  assert.is(code, 0, stderr);
  const chains: { full: number; incremental: number[] }[] = [];
  for (const { kind, bytes } of checkpointsOf(out).map((icount) => manifestOf(out, icount))) {
    if (kind === 'full') chains.push({ full: bytes, incremental: [] });
    else chains.at(-1)?.incremental.push(bytes);
  }
  assert.ok(chains.length >= 2, `${chains.length} chains: ${JSON.stringify(chains)}`);
  for (const [at, { full, incremental }] of chains.entries()) {
    const all = incremental.reduce((sum, bytes) => sum + bytes, 0);
    assert.ok(all - (incremental.at(-1) ?? 0) <= 2 * full, JSON.stringify(chains));
    // Its length ended it, not their number.
    if (at < chains.length - 1) assert.ok(all > 2 * full, JSON.stringify(chains));
  }
});

bounded('no room for a checkpoint: the recording goes on, and the next one is full', async () => {
  const toml = join(dir, 'full.toml');
  writeFileSync(
    toml,
    `name = "full"\nkernel = ${JSON.stringify(guest.kernel)}\n` +
      `initrd = ${JSON.stringify(guest.initrd)}\nappend = "${guest.append} us.run=idle"\n`,
  );
  const out = join(dir, 'full');
  const checkpoints = join(out, 'checkpoints');
  const running = start(['record', toml, '--out', out, '--checkpoint-every', '1500ms']);
  while (!existsSync(join(out, 'vm.json'))) await sleep(20);
  mkdirSync(checkpoints, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', checkpoints]);
  try {
    await running.printed('ready idle');
    await sleep(4000);
    assert.equal(checkpointsOf(out), []);
    execFileSync('mount', ['-o', 'remount,size=256m', checkpoints]);
    for (let n = 0; n < 300 && checkpointsOf(out).length === 0; n += 1) await sleep(100);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.done;
    assert.is(code, 0, stderr);
    assert.match(stderr, /warning: checkpoint at icount \d+ given up: No space left on device/);
    const end = JSON.parse(readFileSync(join(out, 'end.json'), 'utf8')) as Record<string, number>;
    assert.ok((end.checkpoints_failed ?? 0) >= 1);
    const [first = ''] = checkpointsOf(out);
    const manifest = readFileSync(join(checkpoints, first, 'manifest.json'), 'utf8');
    assert.is((JSON.parse(manifest) as { kind: string }).kind, 'full');
    for (const { failure } of await verifyFromCheckpoints(out, 1)) assert.is(failure, null);
  } finally {
    execFileSync('umount', ['-l', checkpoints]);
  }
});

bounded.run();
