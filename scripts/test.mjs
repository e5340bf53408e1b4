#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm test [-- OPTIONS] [GROUP|PATH…]`: bootstrap, then every test file, one group
// after another, each file a process of its own; the cheap groups' side by side.
//
//   --no-bootstrap   what is built is built
//   --list           names of the files, and nothing else
//
// The last line is `N passed, N failed`; the exit code is 1 when one failed.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { bootstrap, report } from './bootstrap.mjs';
import { listFiles } from './lib/cache.mjs';
import { underNode20 } from './lib/node20.mjs';
import { projectRoot } from './paths.mjs';

await underNode20();

/** Cheap ones first; groups not named here come after these, by name. */
const GROUP_ORDER = [
  ...['static', 'unit', 'native', 'golden', 'simulation', 'fuzz', 'integration', 'crash'],
];
/**
 * As many at once as there are cores, before the others of their group: nothing in them
 * asks how long something took, and each computes on one core at most, or waits.
 */
const SIDE_BY_SIDE = [
  /^static|^test\/(unit|golden|cli)\//,
  /^test\/native\/(addon|c)-warnings/,
  /^test\/integration\/(bench\.test|checkpoint|copy-on-write|debug|discard|disk-errors|divergence|epoch-faults|epochs|guests|history|image-differs|io-log|join-faults|leak-finder|record-replay|user-network)/,
];
const FILE_TIMEOUT_MS = Number(process.env.UNDERSTUDY_TEST_TIMEOUT_MS ?? 15 * 60_000);
/** After uvu's summary: a test that failed has often left something open. */
const EXIT_TIMEOUT_MS = 30_000;
const NO_EXIT = `all tests have ended, and the process has not, ${EXIT_TIMEOUT_MS} ms later`;

const argv = process.argv.slice(2);
const flag = (name) => argv.includes(name);
const selectors = argv.filter((word) => !word.startsWith('--'));

if (!flag('--no-bootstrap') && !flag('--list')) {
  try {
    await bootstrap();
  } catch (error) {
    const code = report(error);
    console.log('0 passed, 1 failed');
    process.exit(code);
  }
}

let isInterrupted = false;
const jobs = selected(discover());
if (flag('--list')) {
  for (const { name } of jobs) console.log(name);
} else {
  process.exitCode = await runAll(jobs);
}

/** Every job: { group, name, command }. */
function discover() {
  const tool = (path) => join(projectRoot, 'node_modules', path);
  const jobs = [
    {
      group: 'static',
      name: 'static/types',
      command: [tool('typescript/bin/tsc'), '-p', 'tsconfig.test.json', '--pretty', 'false'],
    },
    {
      group: 'static',
      name: 'static/types-timeline',
      command: [tool('typescript/bin/tsc'), '-p', 'src/timeline/client', '--pretty', 'false'],
    },
    { group: 'static', name: 'static/lint', command: [tool('@biomejs/biome/bin/biome'), 'check'] },
  ];
  const testDir = join(projectRoot, 'test');
  const groups = existsSync(testDir)
    ? readdirSync(testDir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    : [];
  for (const { name: group } of groups) {
    for (const file of listFiles(join(testDir, group), (path) => path.endsWith('.test.ts'))) {
      const path = join(testDir, group, file);
      const name = relative(projectRoot, path);
      jobs.push({ group, name, command: ['--import', 'tsx', path] });
    }
  }
  const rank = ({ group }) => (GROUP_ORDER.indexOf(group) + 1 || 99) - 1;
  return jobs.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

function selected(jobs) {
  if (selectors.length === 0) return jobs;
  const found = jobs.filter(({ group, name }) =>
    selectors.some((word) => word === group || name.includes(word)),
  );
  if (found.length === 0) {
    console.error(`no test is named like ${selectors.join(', ')}`);
    process.exit(2);
  }
  return found;
}

async function runAll(jobs) {
  const totals = { passed: 0, failed: 0, failures: [] };
  for (const group of new Set(jobs.map(({ group }) => group))) {
    console.log(`\n== ${group}`);
    const ofGroup = jobs.filter((job) => job.group === group);
    const isSideBySide = ({ name }) => SIDE_BY_SIDE.some((pattern) => pattern.test(name));
    const waiting = ofGroup.filter(isSideBySide);
    const lane = async () => {
      while (waiting.length > 0 && !isInterrupted) await runInto(totals, waiting.shift());
    };
    await Promise.all(Array.from({ length: availableParallelism() }, lane));
    waiting.push(...ofGroup.filter((job) => !isSideBySide(job)));
    await lane();
    if (isInterrupted) {
      totals.failures.push('interrupted');
      totals.failed += 1;
      break;
    }
  }
  if (totals.failures.length > 0) console.log(`\nfailed: ${totals.failures.join(' ')}`);
  console.log(`\n${totals.passed} passed, ${totals.failed} failed`);
  return totals.failed === 0 && totals.passed > 0 ? 0 : 1;
}

async function runInto(totals, job) {
  const startedAt = performance.now();
  const result = await runOne(job);
  totals.passed += result.passed;
  totals.failed += result.failed;
  const took = ((performance.now() - startedAt) / 1000).toFixed(1);
  const mark = result.failed === 0 ? 'ok  ' : 'FAIL';
  console.log(`${mark} ${job.name}  ${result.passed} passed, ${result.failed} failed  ${took} s`);
  if (result.failed > 0) {
    totals.failures.push(job.name);
    console.log(`${result.output.trimEnd()}\n  again: npm test -- --no-bootstrap ${job.name}`);
  }
}

/** Runs one file; a process that dies, hangs or reports nothing is one failed test. */
function runOne({ command }) {
  return new Promise((resolve) => {
    // A group of its own, so that what a hung test started ends with it.
    const child = spawn(process.execPath, command, {
      cwd: projectRoot,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NO_COLOR: '1',
        FORCE_COLOR: '0',
        // The recordings of tests are in nobody's list.
        UNDERSTUDY_CATALOG_DIR: 'off',
        // What test/lib/fake-vm.c is told; a QEMU has no other environment.
        UNDERSTUDY_QEMU_ENV: 'FAKE_VM FAKE_VM_LINES',
      },
    });
    let output = '';
    let exitTimer;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        output += text;
        if (/^\s*Duration: /m.test(text)) exitTimer ??= setTimeout(end, EXIT_TIMEOUT_MS, NO_EXIT);
      });
    }
    const endGroup = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    };
    const onSignal = () => {
      isInterrupted = true;
      endGroup('SIGTERM');
    };
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
    const end = (why) => {
      output += `\n${why}\n`;
      endGroup('SIGKILL');
    };
    const timer = setTimeout(end, FILE_TIMEOUT_MS, `no end after ${FILE_TIMEOUT_MS} ms`);
    child.on('close', (code) => {
      clearTimeout(timer);
      clearTimeout(exitTimer);
      process.removeListener('SIGINT', onSignal).removeListener('SIGTERM', onSignal);
      resolve(count(output, code));
    });
  });
}

/** Sums uvu's summaries; a tool without one is a single test. */
function count(output, code) {
  const sum = (label) =>
    [...output.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)$`, 'gm'))]
      .map((match) => Number(match[1]))
      .reduce((a, b) => a + b, 0);
  const total = sum('Total');
  const passed = sum('Passed');
  const skipped = sum('Skipped');
  if (total === 0) return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, output };
  const failed = total - passed - skipped;
  // All tests passed and still a bad exit: something broke outside of them.
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, output };
}
