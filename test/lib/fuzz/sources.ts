// SPDX-License-Identifier: Apache-2.0
/** What a target consists of: its file, and whatever that includes or imports. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { ContentHash } from '#scripts/lib/cache.mjs';
import { projectRoot } from '#scripts/paths.mjs';
import { nativeTargets } from '#scripts/steps/fuzz-targets.mjs';
import { TARGETS_BY_FILE } from './targets.ts';

const ADDON = join(projectRoot, 'native/kvm-exit-log');
const INCLUDED_FROM = ['fuzz', 'addon', 'include'].map((dir) => join(ADDON, dir));

/** Relative to the project, sorted. */
export function sourcesOf(target: string): string[] {
  const found = new Set<string>();
  const waiting = [fileOf(target)];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    waiting.push(...(file.endsWith('.ts') ? imported(file) : included(file)));
  }
  return [...found].map((file) => relative(projectRoot, file)).sort();
}

export function versionOf(target: string): string {
  const hash = new ContentHash();
  for (const file of sourcesOf(target)) hash.addFile(join(projectRoot, file), file);
  return hash.digest();
}

function fileOf(target: string): string {
  if (nativeTargets().includes(target)) return join(ADDON, 'fuzz', `${target}.cc`);
  const file = Object.entries(TARGETS_BY_FILE).find(([, targets]) =>
    targets.some(({ name }) => name === target),
  )?.[0];
  if (file === undefined) throw new Error(`there is no target ${target}`);
  return join(import.meta.dirname, file);
}

/** Headers, and what is beside a header: a class and its functions. */
function included(file: string): string[] {
  const names = [...readFileSync(file, 'utf8').matchAll(/^#include [<"](.+)[>"]/gm)];
  const headers = names.flatMap(([, name = '']) => INCLUDED_FROM.map((dir) => join(dir, name)));
  return [...headers, file.replace(/\.h$/, '.cc')].filter((path) => existsSync(path));
}

function imported(file: string): string[] {
  const names = [...readFileSync(file, 'utf8').matchAll(/^(?:im|ex)port [^;]*'(\.[^']+\.ts)';$/gm)];
  return names.map(([, name = '']) => join(dirname(file), name));
}
