#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm start`: bootstrap, then the demo, with all arguments passed on.  stdout
// belongs to the demo.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { bootstrap, report } from './bootstrap.mjs';
import { underNode20 } from './lib/node20.mjs';
import { projectRoot } from './paths.mjs';

await underNode20();

try {
  await bootstrap({ demo: true });
} catch (error) {
  process.exit(report(error));
}

const command = join(projectRoot, 'bin', 'understudy');
const child = spawn(process.execPath, [command, 'demo', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// The terminal's Ctrl-C reaches the child by itself; we only have to outlive it,
// so that its clean-up can finish and its exit code is ours.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('error', (error) => {
  process.stderr.write(`${command}: ${error.message}\n`);
  process.exitCode = 1;
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
