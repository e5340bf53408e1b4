// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy guest build`: the reference guest, and where it is.
 * `understudy guest guard`: the guard for guests, and where that is.
 */
import type { Command } from 'commander';
import { describe, gatherFacts, judge } from '#scripts/checks.mjs';
import { Progress } from '#scripts/lib/progress.mjs';
import { guestPaths } from '#scripts/paths.mjs';
import { guestStep } from '#scripts/steps/guest.mjs';
import { guardStep } from '#scripts/steps/us-guard.mjs';
import { assert } from '../base/assert.ts';
import { UnderstudyError } from '../base/errors.ts';
import { printFacts, printJson } from './output.ts';

interface BuildOptions {
  readonly json?: boolean;
  readonly refresh?: boolean;
}

export function register(program: Command): void {
  const guest = program
    .command('guest')
    .description('the reference guest, and the guard for any guest');
  guest
    .command('build')
    .description('builds it from Debian packages, unless the cache has it; prints its paths')
    .option('--refresh', "choose Debian's newest package versions and build anew")
    .option('--json', 'one JSON object on stdout')
    .action(build);
  guest
    .command('guard')
    .description(
      "where the guard is that watches a guest's services: a static program to copy into it",
    )
    .option('--json', 'one JSON object on stdout')
    .action(guard);
}

async function guard(options: { readonly json?: boolean }): Promise<void> {
  const path = await guardStep(new Progress());
  if (options.json) printJson({ guard: path });
  else printFacts([['guard', path]]);
}

async function build(options: BuildOptions): Promise<void> {
  const isWorkLeft = options.refresh === true || guestPaths() === undefined;
  const problems = judge(gatherFacts(), { build: isWorkLeft });
  if (problems.length > 0) throw new UnderstudyError('host-unsupported', describe(problems));
  const progress = new Progress();
  progress.begin('reference guest');
  await guestStep(progress, { refresh: options.refresh ?? false });
  progress.end();
  const paths = guestPaths();
  assert(paths !== undefined, 'the guest was built a moment ago');
  if (options.json) {
    printJson({
      kernel: paths.kernel,
      vmlinuz: paths.vmlinuz,
      initrd: paths.initrd,
      append: paths.append,
      disk_template: paths.diskTemplate,
      firmware: paths.firmwareDir,
      packages: paths.packages,
    });
    return;
  }
  printFacts([
    ['kernel', paths.kernel],
    ['vmlinuz', paths.vmlinuz],
    ['initrd', paths.initrd],
    ['append', paths.append],
    ['disk template', paths.diskTemplate],
    ['firmware', paths.firmwareDir],
  ]);
}
