// SPDX-License-Identifier: Apache-2.0
// What looks at our C and C++ beside the build's own compiler: Debian's packages, installed
// when the tests that use them run and one is not there.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, withLock } from '../lib/cache.mjs';
import { StepError, tryOutput } from '../lib/run.mjs';
import { hostApt } from './packages.mjs';

/** Packages, each with a program of its name. */
const LINTERS = ['clang', 'cppcheck'];

const missing = () => LINTERS.filter((name) => tryOutput(name, ['--version']) === undefined);

/** @throws StepError when one is missing and only root could install it */
export async function testLinters(progress) {
  if (missing().length === 0) return;
  if (process.getuid?.() !== 0) {
    const names = missing().join(' ');
    throw new StepError(
      `there is no ${names}: as root this test installs it; apt-get install ${names}`,
    );
  }
  progress.begin('linters for tests');
  mkdirSync(cacheDir(), { recursive: true });
  // As the bootstrap's own packages: one apt at a time.
  await withLock(join(cacheDir(), 'host.lock'), async () => {
    const apt = hostApt();
    const onLine = (line) => progress.tick(line);
    await apt.update({ onLine });
    await apt.install(missing(), onLine);
  });
  progress.end();
}
