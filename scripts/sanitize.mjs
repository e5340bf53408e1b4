#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm run sanitize -- address|thread [--plant NAME] [TEST…]`: tests with an addon that a
// sanitizer watches (docs/fuzzing.md). TEST: part of the name of a file of tests; without one the
// native tests.
//
//   --plant end-reads   the receive buffer's race is put back (steps/sanitized.mjs), to be found
//   qemu                no sanitizer's name: builds QEMU with ASan and UBSan, and says where
//
// The exit code is 1 when a test failed or a sanitizer had something to say.

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { report } from './bootstrap.mjs';
import { listFiles } from './lib/cache.mjs';
import { underNode20 } from './lib/node20.mjs';
import { Progress } from './lib/progress.mjs';
import { output, StepError } from './lib/run.mjs';
import { projectRoot } from './paths.mjs';
import { sanitizedQemu } from './steps/qemu.mjs';
import {
  ADDON_BUILT,
  PLANTS,
  SANITIZERS,
  sanitizedCheckout,
  sanitizerLibrary,
} from './steps/sanitized.mjs';

await underNode20();

/** They look at compilers, or at how long something takes. */
const NOT_NATIVE = /(warnings|abi|micro|throughput)\.test\.ts$/;
/** A sanitizer takes two to fifteen times as long. */
const FILE_TIMEOUT_MS = 15 * 60_000;

const argv = process.argv.slice(2);
try {
  process.exitCode = await main(argv);
} catch (error) {
  process.exitCode = report(error);
}

async function main([kind, ...rest]) {
  const progress = new Progress();
  if (kind === 'qemu') {
    const binary = await sanitizedQemu(progress);
    console.log(`UNDERSTUDY_QEMU=${binary}`);
    return 0;
  }
  const plantAt = rest.indexOf('--plant');
  const [, plant] = plantAt < 0 ? [] : rest.splice(plantAt, 2);
  if (!(kind in SANITIZERS) || (plantAt >= 0 && !(plant in PLANTS))) {
    const plants = Object.keys(PLANTS).join('|');
    throw new StepError(`usage: sanitize address|thread|qemu [--plant ${plants}] [TEST…]`, 2);
  }
  const checkout = await sanitizedCheckout(kind, plant, progress);
  const files = testFiles(rest);
  if (files.length === 0) throw new StepError(`no test is named like ${rest.join(', ')}`, 2);
  let failed = 0;
  for (const file of files) failed += (await runFile(kind, checkout, file)) ? 0 : 1;
  console.log(`${files.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function testFiles(words) {
  const all = listFiles(join(projectRoot, 'test'), (name) => name.endsWith('.test.ts'));
  if (words.length > 0) return all.filter((name) => words.some((word) => name.includes(word)));
  return all.filter((name) => name.startsWith('native/') && !NOT_NATIVE.test(name));
}

/** What the sanitizer is told. Its words are in files: tests read what their programs print. */
function optionsOf(kind, logs) {
  const suppressions = (name) => join(projectRoot, 'scripts/sanitizers', `${name}.supp`);
  const common = `log_path=${logs}/report:exitcode=0`;
  if (kind === 'thread') {
    return { TSAN_OPTIONS: `${common}:suppressions=${suppressions('thread')}:history_size=7` };
  }
  return {
    // A page that is not ours, behind an allocation, is found; what Node leaves is not looked for.
    ASAN_OPTIONS: `${common}:halt_on_error=0:detect_leaks=0:allocator_may_return_null=1`,
    UBSAN_OPTIONS: `${common}:print_stacktrace=1:suppressions=${suppressions('undefined')}`,
  };
}

/** @returns whether all was well */
async function runFile(kind, checkout, file) {
  const logs = mkdtempSync(join(tmpdir(), 'understudy-sanitize-'));
  const startedAt = performance.now();
  const { code, said } = await run(kind, checkout, file, {
    ...optionsOf(kind, logs),
    LD_PRELOAD: sanitizerLibrary(kind),
  });
  const reports = readdirSync(logs).map((name) =>
    withNames(readFileSync(join(logs, name), 'utf8'), checkout),
  );
  rmSync(logs, { recursive: true });
  const isWell = code === 0 && reports.length === 0;
  const took = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${isWell ? 'ok  ' : 'FAIL'} ${file}  ${reports.length} reports  ${took} s`);
  if (code !== 0) console.log(said.slice(-8000));
  for (const text of reports) console.log(text.slice(0, 8000));
  return isWell;
}

/** GCC's sanitizers say of an addon only where in the file a call is. */
function withNames(report, checkout) {
  const place = /<null> <null> \(kvm_exit_log\.node\+(0x[0-9a-f]+)\)/g;
  const places = [...new Set([...report.matchAll(place)].map(([, address]) => address))];
  if (places.length === 0) return report;
  const names = output('addr2line', ['-Cfpe', join(checkout, ADDON_BUILT), ...places]).split('\n');
  return report.replace(place, (_, address) => {
    const name = names[places.indexOf(address)] ?? address;
    return name.replace(/ at .*\/\.\.\//, ' ').replace(/ \(discriminator.*/, '');
  });
}

function run(kind, checkout, file, env) {
  return new Promise((resolve) => {
    const first = join(projectRoot, 'scripts/sanitizers/preload-children.mjs');
    const node = [process.execPath, '--import', first, '--import', 'tsx'];
    // TSan wants its addresses where a kernel of today may have put something.
    const command = kind === 'thread' ? ['setarch', '-R', ...node] : node;
    const [program, ...args] = [...command, join(checkout, 'test', file)];
    const child = spawn(program, args, {
      cwd: checkout,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        NO_COLOR: '1',
        FORCE_COLOR: '0',
        UNDERSTUDY_CATALOG_DIR: 'off',
        UNDERSTUDY_QEMU_ENV: 'FAKE_VM FAKE_VM_LINES',
      },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    }
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), FILE_TIMEOUT_MS);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, said });
    });
  });
}
