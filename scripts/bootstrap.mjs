#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Makes a fresh clone runnable, and does nothing when it already is.
//
//   npm run bootstrap [-- --only STEP,…] [--skip STEP,…]
//
// Steps: packages, npm, addon, typescript, us-guard, guest, qemu.  Each is idempotent and
// keyed by the content of what it is made from.  Plain Node without a single
// dependency: it runs before `npm ci`.  Everything it says goes to stderr.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, EXIT_HOST, gatherFacts, judge } from './checks.mjs';
import { cacheDir, withLock } from './lib/cache.mjs';
import { underNode20 } from './lib/node20.mjs';
import { Progress } from './lib/progress.mjs';
import { StepError } from './lib/run.mjs';
import { guestPaths } from './paths.mjs';
import { guestStep } from './steps/guest.mjs';
import {
  addonStep,
  npmIsInstalled,
  npmStep,
  registryProblem,
  typescriptStep,
} from './steps/node.mjs';
import { hostApt, packagesStep } from './steps/packages.mjs';
import { qemuIsBuilt, qemuStep } from './steps/qemu.mjs';
import { raftIsBuilt } from './steps/raft.mjs';
import { guardStep } from './steps/us-guard.mjs';

/** In the order in which they need each other; QEMU last, it takes longest. */
const STEPS = {
  packages: { title: 'Debian packages', run: packagesStep },
  npm: { title: 'npm packages', run: npmStep },
  addon: { title: 'native addon', run: addonStep },
  typescript: { title: 'TypeScript', run: typescriptStep },
  'us-guard': { title: 'guard for guests', run: guardStep },
  guest: { title: 'reference guest', run: guestStep },
  qemu: { title: 'patched QEMU', run: qemuStep },
};

/**
 * Runs the steps that are wanted.
 * @param {{ only?: string[], skip?: string[], demo?: boolean }} options
 *   `demo`: check too that taps and network namespaces can be made
 * @throws StepError with exitCode 13 when the host lacks something
 */
export async function bootstrap({ only, skip = [], demo = false } = {}) {
  // mke2fs and ip are there, and a plain user's PATH may not name it.
  process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
  const wanted = Object.keys(STEPS).filter(
    (name) => (only === undefined || only.includes(name)) && !skip.includes(name),
  );
  const progress = new Progress();
  progress.begin('this host');
  const facts = gatherFacts();
  const work = await workLeft(facts, wanted, { demo, progress });
  const problems = judge(facts, work);
  if (problems.length > 0) throw new StepError(describe(problems), EXIT_HOST);
  progress.end();

  // The checkout's own steps (node_modules, build/, dist/) exclude each other too.
  mkdirSync(cacheDir(), { recursive: true });
  for (const name of wanted) {
    const { title, run } = STEPS[name];
    progress.begin(title);
    const isLocal = ['packages', 'npm', 'addon', 'typescript'].includes(name);
    const onWait = (pid) => progress.note(`waiting for process ${pid}`);
    if (isLocal) await withLock(join(cacheDir(), 'host.lock'), () => run(progress), onWait);
    else await run(progress);
    progress.end();
  }
  progress.finish();
}

/** What is not there yet; the network is tried only when something must be fetched. */
async function workLeft(facts, wanted, { demo, progress }) {
  const needs = {
    packages: wanted.includes('packages') && (facts.missingPackages ?? []).length > 0,
    npm: wanted.includes('npm') && !npmIsInstalled(),
    guest: wanted.includes('guest') && guestPaths() === undefined,
    qemu: wanted.includes('qemu') && !qemuIsBuilt(),
    raft: wanted.includes('addon') && !raftIsBuilt(),
  };
  const work = { build: needs.packages || needs.guest || needs.qemu, demo };
  if (needs.npm) {
    progress.note('asking the npm registry');
    work.registry = registryProblem();
  }
  const isDebian = facts.os.id === 'debian' && facts.missingPackages !== undefined;
  if (isDebian && (needs.packages || needs.guest || needs.qemu || needs.raft)) {
    try {
      progress.note('asking the Debian mirror');
      await hostApt().update();
    } catch (error) {
      work.debian = /^E: (.*)$/m.exec(error.message)?.[1] ?? error.message;
    }
  }
  return work;
}

/** Prints an error as the user should see it; returns the exit code. */
export function report(error) {
  process.stderr.write(`\n${error instanceof StepError ? error.message : error.stack}\n`);
  return error instanceof StepError ? error.exitCode : 1;
}

function parseSteps(argv) {
  const options = {};
  for (let i = 0; i < argv.length; i += 2) {
    const list = argv[i + 1]?.split(',') ?? [];
    const unknown = list.find((name) => !(name in STEPS));
    if (!['--only', '--skip'].includes(argv[i]) || list.length === 0 || unknown !== undefined) {
      const steps = Object.keys(STEPS).join(', ');
      throw new StepError(`usage: bootstrap [--only STEP,…] [--skip STEP,…]; steps: ${steps}`, 2);
    }
    options[argv[i].slice(2)] = list;
  }
  return options;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await underNode20();
  try {
    await bootstrap(parseSteps(process.argv.slice(2)));
  } catch (error) {
    process.exitCode = report(error);
  }
}
