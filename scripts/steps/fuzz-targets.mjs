// SPDX-License-Identifier: Apache-2.0
// The fuzz targets of the addon's C++ (docs/fuzzing.md): libFuzzer, ASan and UBSan, without Node.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { ContentHash, listFiles } from '../lib/cache.mjs';
import { made } from '../lib/made.mjs';
import { run, tryOutput } from '../lib/run.mjs';
import { projectRoot } from '../paths.mjs';
import { testPackages } from './test-packages.mjs';

const ADDON = join(projectRoot, 'native/kvm-exit-log');
const FUZZ = join(ADDON, 'fuzz');
/** What all targets share; every other source there is a target. */
const SHARED = 'fuzz.cc';

const SANITIZE = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const FLAGS = [
  ...['-std=c++17', '-O1', '-g', '-fno-omit-frame-pointer', '-fno-strict-aliasing'],
  ...['-Wall', '-Wextra', '-Werror', '-DXXH_INLINE_ALL'],
  ...['-I', join(ADDON, 'addon'), '-I', join(ADDON, 'include'), '-I', FUZZ],
];

/** Names of the C++ targets. */
export function nativeTargets() {
  return readdirSync(FUZZ)
    .filter((name) => name.endsWith('.cc') && name !== SHARED)
    .map((name) => basename(name, '.cc'))
    .sort();
}

/** Folder of a target's seeds: of C++ and of TypeScript alike. */
export function seedsOf(target) {
  return join(projectRoot, 'test/fuzz/seeds', target);
}

/** A program of each target. @returns {Promise<string>} the folder */
export async function fuzzTargets(progress) {
  await testPackages('clang and its sanitizers', missing, progress);
  const key = new ContentHash()
    .addDir(join(ADDON, 'addon'), 'addon')
    .addDir(join(ADDON, 'include'), 'include')
    .addDir(FUZZ, 'fuzz')
    .addFile(join(projectRoot, 'scripts/steps/fuzz-targets.mjs'), 'step')
    .add('clang', tryOutput('clang++', ['--version']) ?? '')
    .digest();
  const list = await made('fuzz', key, 'targets', 1, progress, (dir) => build(dir, progress));
  return join(list, '..');
}

function missing() {
  const runtime = tryOutput('clang', ['-print-file-name=libclang_rt.fuzzer-x86_64.a']) ?? '';
  return [
    ...(tryOutput('clang++', ['--version']) === undefined ? ['clang'] : []),
    // Where it is not there, its name alone is printed.
    ...(existsSync(runtime) && runtime.includes('/') ? [] : ['libclang-rt-dev']),
    ...(tryOutput('pkg-config', ['--exists', 'libssl']) === undefined ? ['libssl-dev'] : []),
  ];
}

async function build(dir, progress) {
  const sources = [...freeOfNode(), join(FUZZ, SHARED)];
  const objects = sources.map((_, i) => join(dir, `${i}.o`));
  const compile = (source, object, more) =>
    run('clang++', [...FLAGS, ...SANITIZE, ...more, '-c', source, '-o', object], {});
  await sideBySide(sources, async (source, i) => {
    progress.tick(basename(source));
    await compile(source, objects[i], ['-fsanitize=fuzzer-no-link']);
  });
  const archive = join(dir, 'shared.a');
  await run('ar', ['rcs', archive, ...objects], {});
  const targets = nativeTargets();
  await sideBySide(targets, async (target) => {
    progress.tick(target);
    const object = join(dir, `${target}.o`);
    await compile(join(FUZZ, `${target}.cc`), object, ['-fsanitize=fuzzer-no-link']);
    const link = [...SANITIZE, '-fsanitize=fuzzer', object, archive];
    await run('clang++', [...link, '-lzstd', '-lssl', '-lcrypto', '-o', join(dir, target)], {});
  });
  await run('sh', ['-c', 'rm -f "$1"/*.o "$1"/*.a', 'sh', dir], {});
  writeFileSync(join(dir, 'targets'), `${targets.join('\n')}\n`);
}

/** Sources of the addon that need neither Node, libuv nor libraft, whatever they include. */
function freeOfNode() {
  const root = join(ADDON, 'addon');
  const needs = new Map();
  const needsNode = (file) => {
    if (needs.has(file)) return needs.get(file);
    needs.set(file, false);
    const found = [...readFileSync(join(root, file), 'utf8').matchAll(/^#include [<"](.+)[>"]/gm)];
    const result = found.some(
      ([, name]) =>
        /^(napi|uv|node_api)\.h$|^core\//.test(name) ||
        (existsSync(join(root, name)) && needsNode(name)),
    );
    needs.set(file, result);
    return result;
  };
  return listFiles(root, (name) => name.endsWith('.cc'))
    .filter((file) => !needsNode(file))
    .map((file) => join(root, file));
}

async function sideBySide(all, each) {
  const waiting = [...all.entries()];
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await each(next[1], next[0]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
}
