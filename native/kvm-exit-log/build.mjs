#!/usr/bin/env node
// Builds the addon with npm's own node-gyp; no other tool than a C++ compiler and
// Debian's libxxhash-dev is needed.
//
//   node native/kvm-exit-log/build.mjs [--if-needed]
//
// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, 'build', 'Release', 'kvm_exit_log.node');

function isFresh() {
  if (!existsSync(built)) return false;
  const sources = ['binding.gyp', 'include', 'addon'].flatMap((name) => {
    const path = join(here, name);
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path).map((file) => join(path, file));
  });
  const builtAt = statSync(built).mtimeMs;
  return sources.every((path) => statSync(path).mtimeMs < builtAt);
}

// npm ships node-gyp inside itself, wherever it was installed.
function nodeGyp() {
  const npm = process.env.npm_execpath ?? realpathSync(join(dirname(process.execPath), 'npm'));
  return createRequire(realpathSync(npm)).resolve('node-gyp/bin/node-gyp.js');
}

function main() {
  if (process.argv.includes('--if-needed') && isFresh()) return;
  const args = [nodeGyp(), 'rebuild', '-C', here];
  // Headers beside the node that runs this spare a download.
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  if (existsSync(join(prefix, 'include', 'node', 'node_api.h'))) args.push(`--nodedir=${prefix}`);
  execFileSync(process.execPath, args, { stdio: ['ignore', process.stderr, 'inherit'] });
}

main();
