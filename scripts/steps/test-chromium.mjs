// SPDX-License-Identifier: Apache-2.0
// Chromium for the test that looks at a timeline page: Debian's package, installed
// when that test runs and no browser is there.

import { existsSync } from 'node:fs';
import { testPackages } from './test-packages.mjs';

const BINARY = '/usr/bin/chromium';

/** Its path; undefined when it is missing and only root could install it. */
export async function testChromium(progress) {
  const missing = () => (existsSync(BINARY) ? [] : ['chromium']);
  if (missing().length > 0 && process.getuid?.() !== 0) return undefined;
  await testPackages('Chromium for tests', missing, progress);
  return BINARY;
}
