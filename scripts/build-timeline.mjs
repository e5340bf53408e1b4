#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Bundles the code that runs in a timeline page (src/timeline/client) into
// dist/timeline/: one script and one style sheet, which src/timeline/page.ts puts
// into each page.  Types are checked by `npm run typecheck`, not here.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projectRoot } from './paths.mjs';

export async function buildTimeline() {
  const { build } = await import('esbuild');
  const client = join(projectRoot, 'src/timeline/client');
  await build({
    entryPoints: [join(client, 'main.ts'), join(client, 'style.css')],
    outdir: join(projectRoot, 'dist/timeline'),
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    logLevel: 'error',
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildTimeline();
