// SPDX-License-Identifier: Apache-2.0
/**
 * The addon compiles without a warning, and cppcheck has nothing to say. What the build's
 * own compiler warned of is kept by the bootstrap; the others look once at the same bytes.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ContentHash, cacheDir, prune } from '#scripts/lib/cache.mjs';
import { Progress } from '#scripts/lib/progress.mjs';
import { projectRoot } from '#scripts/paths.mjs';
import { addonWarnings, nodeHeaders, warningsIn } from '#scripts/steps/node.mjs';
import { raftLibrary } from '#scripts/steps/raft.mjs';
import { testLinters } from '#scripts/steps/test-linters.mjs';
import { filesBelow } from '../lib/imports.ts';

const progress = new Progress({ quietDone: true });
await testLinters(progress);
progress.begin('libraft');
const RAFT = await raftLibrary(progress);
progress.end();

const ADDON = 'native/kvm-exit-log/addon';
const INCLUDE = 'native/kvm-exit-log/include';
const QUORUM = 'native/kvm-exit-log/quorum';
const NAPI = 'node_modules/node-addon-api';
const OURS = [`-I${ADDON}`, `-I${INCLUDE}`, `-I${QUORUM}`];
/** Those of binding.gyp, and errors of what are warnings there; other people's headers may. */
const CLANG = [
  ...['-std=c++17', '-Wall', '-Wextra', '-Werror'],
  ...['-DNAPI_VERSION=8', '-DNAPI_CPP_EXCEPTIONS', '-DXXH_INLINE_ALL', ...OURS],
  ...['-isystem', join(RAFT, 'include')],
  ...['-isystem', NAPI, '-isystem', join(nodeHeaders() ?? '/usr', 'include/node')],
];
/** Newer ones look at few branches of a function unless told to, and complain of that. */
const ALL_BRANCHES = ['--check-level=exhaustive'];
const CPPCHECK = [
  ...(spawnSync('cppcheck', [...ALL_BRANCHES, '--version']).status === 0 ? ALL_BRANCHES : []),
  ...['-q', '--enable=warning,performance,portability', '--std=c++17', '--language=c++'],
  ...['--error-exitcode=1', '--inline-suppr', ...OURS],
];
/** Folder of empty files, each named by what was found clean. */
const CLEAN = join(cacheDir(), 'linted');
const CLEAN_MAX = 8;

function complaints(tool: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(tool, args, {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  return status === 0 ? stderr : `${stdout}${stderr}${error ?? ''} (exit ${status})`;
}

/** Looks, unless these bytes were found clean by this tool with these flags before. */
function isClean(tool: string, flags: readonly string[], look: () => string): void {
  const key = new ContentHash()
    .add('tool', spawnSync(tool, ['--version'], { encoding: 'utf8' }).stdout)
    .add('flags', `${flags.join(' ')} ${process.version}`)
    .addDir(join(projectRoot, ADDON), 'addon')
    .addDir(join(projectRoot, INCLUDE), 'include')
    .addDir(join(projectRoot, QUORUM, 'core'), 'quorum/core')
    .addFile(join(projectRoot, NAPI, 'package.json'), 'node-addon-api')
    .digest();
  const clean = `${tool}-${key}`;
  if (existsSync(join(CLEAN, clean))) return;
  assert.is(look(), '');
  mkdirSync(CLEAN, { recursive: true });
  writeFileSync(join(CLEAN, clean), '');
  prune(CLEAN, clean, CLEAN_MAX);
}

/** Most of a file's time is the headers of others, so they are read once for all. */
function clang(files: readonly string[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-warnings-'));
  const [header, compiled] = [join(dir, 'others.h'), join(dir, 'others.pch')];
  const lines = filesBelow(projectRoot, ADDON, ['.cc', '.h']).flatMap(
    (file) => readFileSync(join(projectRoot, file), 'utf8').match(/^#include <.*>/gm) ?? [],
  );
  writeFileSync(header, [...new Set(lines)].join('\n'));
  const said =
    complaints('clang', [...CLANG, '-x', 'c++-header', header, '-o', compiled]) ||
    complaints('clang', [...CLANG, '-fsyntax-only', '-include-pch', compiled, ...files]);
  rmSync(dir, { recursive: true });
  return said;
}

const warnings = suite('warnings of the addon');

warnings("the build's own compiler: none", () => {
  assert.equal(addonWarnings(), [], 'npm run bootstrap builds it');
  const planted = "../addon/a.cc:3:5: warning: unused variable 'n' [-Wunused-variable]";
  assert.equal(warningsIn(['make: Entering directory', planted]), [planted]);
});

warnings('clang: none', () => {
  const sources = filesBelow(projectRoot, ADDON, ['.cc']);
  assert.ok(sources.length > 20, `${sources.length} sources`);
  isClean('clang', CLANG, () => clang(sources));
});

warnings('cppcheck: nothing', () => {
  isClean('cppcheck', CPPCHECK, () => complaints('cppcheck', [...CPPCHECK, ADDON]));
});

warnings('one that is planted is found by both', () => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-warnings-'));
  const planted = join(dir, 'planted.cc');
  writeFileSync(planted, 'int f(int n) { int m; if (n > 0u) return m; return 1 / (n - n); }\n');
  assert.match(clang([planted]), /Wsign-compare/);
  assert.match(complaints('cppcheck', [...CPPCHECK, planted]), /uninitvar/);
  rmSync(dir, { recursive: true });
});

warnings.run();
