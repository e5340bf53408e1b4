// SPDX-License-Identifier: Apache-2.0
/**
 * What a guest computes does not depend on the host's CPU nor on its libm: x87, SSE, AVX2
 * and FMA, AES, CLMUL, SHA and bit instructions, recorded with all features of this host
 * and replayed as if it had none of them; and a pair of two such hosts.
 *
 *   SEED=N npm test integration/host-cpu
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { run, runJson, scratch } from '../lib/command.ts';
import { HOST_CPUS, type HostCpu } from '../lib/host-cpu.ts';
import { Pair } from '../lib/pair.ts';
import { writeVm } from '../lib/workload-vm.ts';
import { type Guest, PLAIN, referenceGuest } from '../lib/workloads.ts';
import { type Operation, type Rounding, reference } from '../lib/x87-reference.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/host-cpu`;
const dir = scratch('host-cpu');
const cpu = suite("the host's CPU");

async function fpGuest(kind: string, count: number): Promise<Guest> {
  const guest = await referenceGuest();
  const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
  const words = `us.test=fp-${kind} us.count=${count} us.seed=${seed}`;
  return { ...guest, kernel, initrd, append: `${guest.append} ${append} ${words}` };
}

/** @returns what the guest printed, and where the recording is */
async function record(kind: string, count: number, on: HostCpu) {
  const place = join(dir, kind);
  mkdirSync(place);
  const workload = { name: kind, us: () => 'us.run=poweroff' };
  await writeVm(workload, PLAIN, place, await fpGuest(kind, count), null);
  const out = join(place, 'recording');
  const words = ['record', join(place, 'VM.toml'), '--out', out];
  const { code, stdout, stderr } = await run(words, { env: HOST_CPUS[on] });
  assert.is(code, 0, stderr);
  assert.match(stdout, `done fp-${kind}`, again);
  return { out, lines: stdout.split(/\r?\n/).filter((line) => line.startsWith('fp: ')) };
}

async function replays(out: string, on: HostCpu): Promise<void> {
  const { code, json, stderr } = await runJson(['replay', out, '--verify'], {
    env: HOST_CPUS[on],
  });
  assert.is(code, 0, `on a host with ${on}: ${stderr}\n${again}`);
  assert.is(json.verified, true);
}

/** A line of `fp trig`, by its columns behind the operand: flags and a number each. */
const COLUMNS: readonly (Operation | 'pushed')[] = ['sin', 'cos', 'pushed', 'tan', 'cos', 'sin'];
const C2 = 0x400;

function judge(line: string): void {
  const [operand = '', results = ''] = line.slice('fp: '.length).split(' = ');
  const [rc = '', signExponent = '', significand = ''] = operand.split(' ');
  const x = {
    signExponent: Number.parseInt(signExponent, 16),
    significand: BigInt(`0x${significand}`),
  };
  const words = results.split(' ');
  for (const [column, operation] of COLUMNS.entries()) {
    const got = words.slice(3 * column, 3 * column + 3).join(' ');
    const of = (name: Operation) => reference(name, x, Number(rc) as Rounding);
    const two = column >= 4 ? of('sin').flags | of('cos').flags : 0;
    const answer = of(operation === 'pushed' ? 'tan' : operation);
    const flags = answer.flags | two;
    // Out of range nothing is pushed, and the second register holds anything.
    if ((flags & C2) !== 0 && (column === 3 || column === 5)) continue;
    const isNumber = (x.signExponent & 0x7fff) !== 0x7fff && (answer.flags & 1) === 0;
    const stored =
      operation === 'pushed' && isNumber && (flags & C2) === 0
        ? { signExponent: 0x3fff, significand: 1n << 63n }
        : answer;
    const wanted = [
      flags.toString(16),
      stored.signExponent.toString(16).padStart(4, '0'),
      stored.significand.toString(16).padStart(16, '0'),
    ].join(' ');
    assert.is(got, wanted, `column ${column} of ${line}\n${again}`);
  }
}

cpu("does not show in a guest's arithmetic", async () => {
  const rounds = 2000;
  const { out, lines } = await record('both', rounds, 'all');
  const isSum = (line: string) => /^fp: \d [0-9a-f]{16}$/.test(line);
  assert.is(lines.filter(isSum).length, 10, lines.join('\n'));
  assert.ok(lines.includes('fp: pages 255, 0 wrong'), lines.join('\n'));
  const trigonometry = lines.filter((line) => line.includes(' = '));
  assert.is(trigonometry.length, rounds / 4);
  for (const other of ['no-fma', 'no-avx2', 'none'] as const) await replays(out, other);
  // Not of the host's libm, with 53 bits: rounded right, with the flags of hardware.
  for (const line of trigonometry) judge(line);
});

cpu('may differ between the sides of a pair', async () => {
  const place = join(dir, 'pair');
  mkdirSync(place);
  const options = { env: { backup: HOST_CPUS.none } };
  const pair = Pair.start(place, await fpGuest('for-ever', 1), ['lag_ms_max = 100'], options);
  const hashes = (side: 'primary' | 'backup') => pair.console(side).match(/^fp: [0-9a-f]{16}/gm);
  const computes = (side: 'primary' | 'backup', lines: number) =>
    pair.until('it computes', () => (hashes(side)?.length ?? 0) >= lines, 90_000);
  try {
    await computes('primary', 2);
    assert.is((await pair.status('primary'))?.state, 'protected');
    pair.signal('primary', 'SIGKILL');
    const isLive = async () => (await pair.status('backup'))?.state === 'needs-backup';
    await pair.until('the other side goes on', isLive);
    await computes('backup', (hashes('backup')?.length ?? 0) + 2);
  } finally {
    await pair.end();
  }
});

/** Correctly rounded wherever they come from, or not reached by a guest (qemu/README.md). */
const OF_LIBM = ['fma', 'fmaf', 'frexp', 'lround', 'sqrt', 'sqrtf'];

cpu('calls no function of libm but those whose results are exact', async () => {
  const names = (...words: string[]) =>
    execFileSync('nm', ['-D', ...words], { encoding: 'utf8' })
      .split('\n')
      .map((line) => /(\S+)$/.exec(line.replace(/@.*/, ''))?.[1] ?? '')
      .filter((name) => name !== '');
  const { path } = await findQemu();
  const libm = /libm\.so\.6 => (\S+)/.exec(execFileSync('ldd', [path], { encoding: 'utf8' }))?.[1];
  const defined = new Set(libm === undefined ? [] : names('--defined-only', libm));
  const called = names('--undefined-only', path).filter((name) => defined.has(name));
  // A compiler may put an instruction where another calls.
  assert.ok(called.includes('fma'), `${libm}: ${called.join(' ')}`);
  assert.equal(
    called.filter((name) => !OF_LIBM.includes(name)),
    [],
  );
});

cpu.run();
