// SPDX-License-Identifier: Apache-2.0
// What looks at our C and C++ beside the build's own compiler: Debian's packages, installed
// when the tests that use them run and one is not there.

import { tryOutput } from '../lib/run.mjs';
import { testPackages } from './test-packages.mjs';

/** Packages, each with a program of its name. */
const LINTERS = ['clang', 'cppcheck'];

/** @throws StepError when one is missing and only root could install it */
export async function testLinters(progress) {
  const isMissing = (name) => tryOutput(name, ['--version']) === undefined;
  await testPackages('linters for tests', () => LINTERS.filter(isMissing), progress);
}
