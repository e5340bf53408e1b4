// SPDX-License-Identifier: Apache-2.0
// The Node side: npm packages, the addon, the TypeScript.

import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { buildTimeline } from '../build-timeline.mjs';
import { EXIT_HOST } from '../checks.mjs';
import { ContentHash, readJson, writeAtomic } from '../lib/cache.mjs';
import { run, StepError, tryOutput } from '../lib/run.mjs';
import { projectRoot } from '../paths.mjs';
import { pruneDist } from '../prune-dist.mjs';
import { raftKey, raftLibrary } from './raft.mjs';

const at = (...parts) => join(projectRoot, ...parts);

/**
 * The lockfile's, also for SQLite (npm's scripts look in node_modules/.bin first): some npm
 * have none, and Debian's links what it builds with the libnode of Debian's own Node.
 */
export const NODE_GYP = 'node_modules/node-gyp/bin/node-gyp.js';

/** The only npm package with native code; npm builds it while it installs. */
const SQLITE = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';

/**
 * Whether node_modules holds what the lockfile says: npm's own record of what it
 * installed is compared, so that an `npm install` by hand counts too. An install
 * that skipped the build of SQLite does not.
 */
export function npmIsInstalled() {
  const wanted = readJson(at('package-lock.json'))?.packages;
  const installed = readJson(at('node_modules/.package-lock.json'))?.packages;
  if (wanted === undefined || installed === undefined) return false;
  if ('node_modules/better-sqlite3' in wanted && !existsSync(at(SQLITE))) return false;
  // `npm install --package-lock-only` says that it installed, too.
  if ('node_modules/node-gyp' in wanted && !existsSync(at(NODE_GYP))) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const present = installed[path];
    // Optional packages of other platforms are in the lockfile only.
    return present === undefined ? optional === true : present.version === version;
  });
}

/** What is built is in the checkout: somebody else's has to be built by its owner. */
function checkIsOurs() {
  try {
    accessSync(projectRoot, constants.W_OK);
  } catch {
    throw new StepError(
      `${projectRoot} is not built as it is now, and this user cannot write there:\n` +
        'run `npm run bootstrap` there as its owner, or use a clone of your own',
      EXIT_HOST,
    );
  }
}

export async function npmStep(progress) {
  if (npmIsInstalled()) return;
  checkIsOurs();
  progress.note('npm ci (builds SQLite)');
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  // better-sqlite3 would look for a binary on GitHub first: it is built from the
  // source in its package, as all that runs here is built from source.
  const env = { npm_config_build_from_source: 'true' };
  const headers = nodeHeaders();
  if (headers !== undefined) env.npm_config_nodedir = headers;
  await run('npm', args, { cwd: projectRoot, env, onLine: (line) => progress.tick(line) });
}

/** Why the registry of this user's npm cannot be used; undefined when it can. */
export function registryProblem() {
  const [name, version] = Object.entries(readJson(at('package.json')).dependencies)[0];
  const args = ['view', `${name}@${version}`, 'version', '--fetch-retries=0'];
  if (tryOutput('npm', args, { timeout: 20_000 }) !== undefined) return undefined;
  return `${tryOutput('npm', ['config', 'get', 'registry']) ?? 'npm'} did not answer`;
}

const ADDON = at('native/kvm-exit-log');
const ADDON_STAMP = join(ADDON, 'build/.understudy.json');

export async function addonStep(progress) {
  if (!existsSync(join(ADDON, 'binding.gyp'))) return;
  const key = new ContentHash()
    .addFile(join(ADDON, 'binding.gyp'), 'binding.gyp')
    .addDir(join(ADDON, 'addon'), 'addon')
    .addDir(join(ADDON, 'include'), 'include')
    .addDir(join(ADDON, 'quorum/core'), 'quorum/core')
    .add('libraft', raftKey())
    .addFile(at('node_modules/node-addon-api/package.json'), 'node-addon-api')
    .addFile(at('node_modules/node-gyp/package.json'), 'node-gyp')
    .add('node', `${process.versions.modules} ${projectRoot}`)
    .digest();
  const stamp = readJson(ADDON_STAMP);
  if (stamp?.key === key && stamp.warnings !== undefined) return;
  checkIsOurs();
  const words = await addonWords(progress);
  progress.note('compiling');
  const args = [at(NODE_GYP), 'rebuild', ...words];
  const lines = [];
  const onLine = (line) => {
    lines.push(line);
    progress.tick(line);
  };
  await run(process.execPath, args, { cwd: ADDON, onLine });
  writeAtomic(ADDON_STAMP, JSON.stringify({ key, warnings: warningsIn(lines) }));
}

/** What node-gyp is told of where headers and libraft are; libraft is made unless the cache has it. */
export async function addonWords(progress) {
  const headers = nodeHeaders();
  const nodedir = headers === undefined ? [] : [`--nodedir=${headers}`];
  return [...nodedir, '--', `-Draft_dir=${await raftLibrary(progress)}`];
}

/**
 * What the compiler warned of when the addon was built: a test looks at it, so that a user's
 * compiler of another year may warn of more. Undefined: it is not known.
 */
export function addonWarnings() {
  return readJson(ADDON_STAMP)?.warnings;
}

export function warningsIn(lines) {
  return lines.filter((line) => /\bwarning: /.test(line));
}

/** Where headers are that came with this Node, and need no download. */
export function nodeHeaders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? prefix : undefined;
}

export async function typescriptStep(progress) {
  const isSource = (name) => /\.(ts|css)$/.test(name);
  const hash = new ContentHash()
    .addFile(at('tsconfig.json'), 'tsconfig.json')
    .addFile(at('package-lock.json'), 'package-lock.json')
    .addDir(at('src'), 'src', isSource)
    .addDir(at('bench'), 'bench', isSource)
    .addDir(at('schema'), 'schema', isSource)
    .addFile(at('scripts/paths.d.mts'), 'paths.d.mts')
    .addFile(at('scripts/checks.d.mts'), 'checks.d.mts')
    .addFile(at('scripts/build-timeline.mjs'), 'build-timeline.mjs');
  const addon = readdirSync(at('native/kvm-exit-log')).filter((name) => name.endsWith('.ts'));
  for (const name of addon.sort()) hash.addFile(at('native/kvm-exit-log', name), name);
  const key = hash.digest();
  const dist = at('dist');
  const stamp = join(dist, '.understudy.json');
  if (readJson(stamp)?.key === key) return;
  checkIsOurs();
  progress.note('tsc');
  mkdirSync(dist, { recursive: true });
  rmSync(stamp, { force: true });
  const tsc = at('node_modules/typescript/bin/tsc');
  await run(process.execPath, [tsc, '-p', 'tsconfig.json', '--pretty', 'false'], {
    cwd: projectRoot,
    onLine: (line) => progress.tick(line),
  });
  pruneDist();
  await buildTimeline();
  writeAtomic(stamp, JSON.stringify({ key }));
}
