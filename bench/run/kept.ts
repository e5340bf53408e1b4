// SPDX-License-Identifier: Apache-2.0
/** Kept results: noted in the catalog, and found again by path, id or commit. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../../src/base/errors.ts';
import { catalogDir } from '../../src/base/paths.ts';
import { addBenchmark, type BenchmarkEntry, listBenchmarks } from '../../src/catalog/benchmarks.ts';
import type { BenchResults } from '../results.ts';
import { RESULTS_FILE, readResults } from './store.ts';

/** An index that cannot be written is no reason to lose a measurement. */
export function keep(dir: string, warn: (text: string) => void): void {
  const folder = catalogDir();
  if (folder === null) return;
  try {
    addBenchmark(folder, dir);
  } catch (error) {
    warn(`not in the list of kept results: ${messageOf(error)}`);
  }
}

/** Newest first; none without a catalog. */
export function keptResults(): BenchmarkEntry[] {
  const folder = catalogDir();
  return folder === null ? [] : listBenchmarks(folder);
}

/**
 * @param name a folder with results.json, that file, an id or its beginning, or a commit's
 * beginning (its newest results)
 * @throws UnderstudyError usage
 */
export function findResults(name: string): BenchResults {
  if (existsSync(join(name, RESULTS_FILE)) || (name.endsWith('.json') && existsSync(name))) {
    return readResults(name);
  }
  const found = keptResults().find(
    ({ id, commit }) => id.startsWith(name) || commit.startsWith(name),
  );
  if (found !== undefined && name !== '') return readResults(found.dir);
  throw new UnderstudyError(
    'usage',
    `there are no results "${name}": give a folder with ${RESULTS_FILE}, or an id or a commit of ` +
      'kept results (`understudy bench --list` has them)',
  );
}
