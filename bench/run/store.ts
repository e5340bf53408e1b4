// SPDX-License-Identifier: Apache-2.0
/**
 * results.json, written whole after each run: whatever ends the harness, what was measured
 * until then is there, marked as not complete.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { messageOf, UnderstudyError } from '../../src/base/errors.ts';
import { writeJson } from '../../src/base/json-file.ts';
import { makePrivateDirs, stateRoot } from '../../src/base/paths.ts';
import type { Absent, BenchResults, Experiment, Run } from '../results.ts';

export const RESULTS_FILE = 'results.json';

/** The folder of all results that are kept where nobody said otherwise. */
export function benchRoot(): string {
  return join(stateRoot(), 'bench-results');
}

/** Sortable: UTC date and time, commit. */
export function resultsId(startedAt: Date, commit: string): string {
  const time = startedAt.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  return `${time}-${commit.slice(0, 8)}`;
}

/**
 * Makes the folder for new results.
 * @param out null: one of its own below benchRoot()
 * @throws UnderstudyError output-exists | file-io
 */
export function makeResultsDir(out: string | null, id: string): string {
  const dir = out === null ? join(benchRoot(), id) : resolve(out);
  if (existsSync(join(dir, RESULTS_FILE))) {
    throw new UnderstudyError(
      'output-exists',
      `${dir} has results already: they are never overwritten; give another --out or remove it`,
    );
  }
  try {
    if (out === null) makePrivateDirs(dir);
    else mkdirSync(dir, { recursive: true });
  } catch (cause) {
    const why = messageOf(cause);
    throw new UnderstudyError('file-io', `cannot make the folder ${dir}: ${why}`, { cause });
  }
  return dir;
}

export type Head = Omit<
  BenchResults,
  'format' | 'seconds' | 'complete' | 'runs' | 'absent' | 'experiments'
>;

export class ResultsStore {
  readonly dir: string;
  readonly #head: Head;
  readonly #startedMs = performance.now();
  readonly #runs: Run[] = [];
  readonly #absent: Absent[] = [];
  readonly #experiments: Experiment[] = [];
  #complete = false;
  #seconds = 0;

  constructor(dir: string, head: Head) {
    this.dir = dir;
    this.#head = head;
  }

  /** The results as they were written last. */
  get results(): BenchResults {
    return {
      format: 1,
      ...this.#head,
      seconds: this.#seconds,
      complete: this.#complete,
      runs: [...this.#runs],
      absent: [...this.#absent],
      experiments: [...this.#experiments],
    };
  }

  addRun(run: Run): void {
    this.#runs.push(run);
    this.#write();
  }

  /** What came to be known of a run later, such as that its recording replays. */
  amend(before: Run, after: Run): void {
    const at = this.#runs.indexOf(before);
    if (at < 0) throw new Error('only a run that is there can be amended');
    this.#runs[at] = after;
    this.#write();
  }

  addAbsent(...absent: readonly Absent[]): void {
    this.#absent.push(...absent);
    this.#write();
  }

  addExperiment(experiment: Experiment): void {
    this.#experiments.push(experiment);
    this.#write();
  }

  finish(): void {
    this.#complete = true;
    this.#write();
  }

  #write(): void {
    this.#seconds = Math.round(performance.now() - this.#startedMs) / 1000;
    writeJson(join(this.dir, RESULTS_FILE), this.results);
  }
}

/**
 * Reads kept results.
 * @param path the folder, or the file itself
 * @throws UnderstudyError usage | log-version
 */
export function readResults(path: string): BenchResults {
  const file = path.endsWith('.json') ? path : join(path, RESULTS_FILE);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UnderstudyError('usage', `${file} are no results: ${messageOf(cause)}`, { cause });
  }
  const format = (value as { format?: unknown } | null)?.format;
  if (format !== 1) {
    throw new UnderstudyError(
      'log-version',
      `${file} has results of format ${String(format)}, this understudy reads format 1`,
    );
  }
  return value as BenchResults;
}
