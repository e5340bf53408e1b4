// SPDX-License-Identifier: Apache-2.0
/**
 * The benchmark harness on real VMs, as small as it can be. The patched QEMU stands in for
 * the unpatched one: nothing is measured here, and it need not be built for that.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { qemuPaths } from '#scripts/paths.mjs';
import type { BenchResults } from '../../bench/results.ts';
import { VM_NAME } from '../../bench/systems/vm.ts';
import { run, scratch, start } from '../lib/command.ts';

const bench = suite('bench');

const QEMU = { UNDERSTUDY_PLAIN_QEMU: qemuPaths()?.binary ?? '' };

/** What a harness with a TMPDIR of its own left: others on this host have theirs. */
function leftovers(tmp: string, pid: number | undefined): string[] {
  const networks = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  const folders = readdirSync(tmp).filter((name) => name.startsWith('understudy-bench-'));
  return [...folders, ...networks.filter((line) => line.includes(`-${pid}-`))];
}

function tmpIn(dir: string): string {
  const tmp = join(dir, 'tmp');
  mkdirSync(tmp);
  return tmp;
}

function resultsIn(dir: string): BenchResults {
  return JSON.parse(readFileSync(join(dir, 'results.json'), 'utf8')) as BenchResults;
}

/** What --quick promises, twice: another file runs beside this one. */
const QUICK_MAX_MS = 600_000;
const SYSTEMS = ['plain', 'record', 'replay', 'lockstep'];

bench(
  'the smoke run: recorded, replayed, protected, each of it verified, and a report',
  async () => {
    const dir = scratch('bench');
    const tmp = tmpIn(dir);
    const state = { UNDERSTUDY_STATE_DIR: join(dir, 'state'), UNDERSTUDY_CATALOG_DIR: '' };
    const env = { ...QEMU, ...state, TMPDIR: tmp };
    const out = join(dir, 'out');
    const report = join(dir, 'report');
    const words = ['bench', '--quick', '--out', out, '--report', report, '--json'];
    const { child, done } = start(words, { env, timeoutMs: QUICK_MAX_MS });
    const { code, stdout, stderr } = await done;
    assert.is(code, 0, stderr);
    const results = JSON.parse(stdout) as BenchResults;
    assert.equal(results, resultsIn(out), 'what it prints is what it keeps');
    assert.ok(results.complete);
    const served = ['netperf'];
    assert.equal(
      results.runs.map(({ workload, system, invalid }) => [workload, system, invalid]),
      [...served, 'iozone', 'cpu', 'boot'].flatMap((workload) =>
        SYSTEMS.map((system) => [workload, system, null]),
      ),
    );
    for (const { workload, system, values, facts, verification } of results.runs) {
      const name = `${workload} on ${system}`;
      const figures = results.workloads.find((one) => one.name === workload)?.figures ?? [];
      const isSilent = system === 'replay' && served.includes(workload);
      assert.equal(Object.keys(values), isSilent ? [] : figures.map((figure) => figure.name), name);
      if (system === 'plain') continue;
      assert.ok(verification?.baseline && verification.replay, name);
      if (system !== 'replay') assert.ok((facts.instructions ?? 0) > 1e8, name);
      if (system !== 'lockstep') continue;
      assert.is(verification.disks, true, name);
      assert.ok((facts.epochs ?? 0) > 0, `its status was seen: ${name}`);
    }
    const made = readdirSync(join(report, 'figures'));
    for (const kind of ['svg', 'png', 'csv']) {
      assert.ok(made.filter((name) => name.endsWith(`.${kind}`)).length > 5, `${kind}: ${made}`);
    }
    assert.match(readFileSync(join(report, 'report.html'), 'utf8'), /<\/html>\s*$/);
    assert.equal(leftovers(tmp, child.pid), []);
    const listed = JSON.parse((await run(['bench', '--list', '--json'], { env })).stdout);
    assert.equal(
      listed.kept.map(({ id, runs, complete }: Record<string, unknown>) => [id, runs, complete]),
      [[results.id, 16, true]],
      'the catalog knows it',
    );
    const again = await run(words, { env });
    assert.is(again.code, 1);
    assert.match(again.stderr, /never overwritten/);
    rmSync(dir, { recursive: true });
  },
);

bench('a pair that cuts epochs counts by its image and both disks', async () => {
  const dir = scratch('bench-epochs');
  const env = { ...QEMU, TMPDIR: tmpIn(dir) };
  const words = ['bench', 'iozone', '--quick', '--systems', 'kemari', '--out', join(dir, 'out')];
  const { code, stdout, stderr } = await run([...words, '--json'], { env, timeoutMs: 120_000 });
  assert.is(code, 0, stderr);
  const { runs } = JSON.parse(stdout) as BenchResults;
  const own = runs.find((one) => one.system === 'kemari');
  assert.is(own?.invalid, null);
  assert.equal(own?.verification, { baseline: true, replay: null, image: true, disks: true });
  const facts = own?.facts ?? {};
  assert.ok((facts.digests ?? 0) > 0, 'the image was compared');
  const name = 'O_SYNC write';
  assert.ok((facts[`${name}: disk_write_cuts_per_s`] ?? 0) > 0, 'it is cut for what is written');
  assert.ok((facts[`${name}: link_bytes_per_s`] ?? 0) > 100_000, 'which goes over the link');
  rmSync(dir, { recursive: true });
});

bench(
  'Ctrl-C in the middle of a run keeps the runs before it, and leaves nothing else',
  async () => {
    const dir = scratch('bench-int'); // short: a status socket lies deep in it, within 107 bytes
    const tmp = tmpIn(dir);
    const out = join(dir, 'out');
    const words = ['bench', 'boot', '--quick', '--systems', 'lockstep', '--out', out];
    const { child, done } = start(words, { env: { ...QEMU, TMPDIR: tmp }, timeoutMs: 120_000 });
    // The guest of the pair writes its first line: plain has run, and the pair has not.
    const boots = (): boolean =>
      readdirSync(tmp)
        .map((cell) => join(tmp, cell, 'lockstep', 'state', `${VM_NAME}-primary`, 'console.log'))
        .some((console) => (statSync(console, { throwIfNoEntry: false })?.size ?? 0) > 0);
    while (!boots() && child.exitCode === null) await sleep(20);
    child.kill('SIGINT');
    const { code, stderr } = await done;
    assert.is(code, 1, stderr);
    assert.match(stderr, /interrupted/);
    const results = resultsIn(out);
    assert.not.ok(results.complete);
    assert.equal(
      results.runs.map(({ system }) => system),
      ['plain'],
    );
    assert.equal(leftovers(tmp, child.pid), []);
    rmSync(dir, { recursive: true });
  },
);

bench.run();
