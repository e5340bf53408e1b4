#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Removes from dist/ what tsc once made of a source that is no longer there: tsc leaves it,
// and who still names it would be right in an old checkout and wrong in a fresh clone.

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listFiles } from './lib/cache.mjs';
import { projectRoot } from './paths.mjs';

const COMPILED = /\.js(\.map)?$/;

export function pruneDist() {
  const dist = join(projectRoot, 'dist');
  // dist/timeline/ is a bundle of src/timeline/client, which esbuild makes anew.
  for (const path of listFiles(dist, (name) => COMPILED.test(name))) {
    if (path.startsWith('timeline/')) continue;
    if (!existsSync(join(projectRoot, path.replace(COMPILED, '.ts')))) rmSync(join(dist, path));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) pruneDist();
