// SPDX-License-Identifier: Apache-2.0
/**
 * Kept results of benchmarks in the catalog: what results.json says at its head. As of
 * recordings, nothing exists only here: `list` reads the files again, and a folder that is
 * gone is forgotten.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { makePrivateDirs } from '../base/paths.ts';
import { openDatabase, unusable } from './database.ts';
import { addLink, canonicalDir, listLinks, removeLink } from './links.ts';

const BUSY_MS = 10_000;
const KIND = 'benchmarks';

export interface BenchmarkEntry {
  readonly dir: string;
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly commit: string;
  /** The tree had changes that were not committed. */
  readonly dirty: boolean;
  readonly quick: boolean;
  readonly complete: boolean;
  readonly rounds: number;
  readonly runs: number;
  readonly seconds: number;
}

/** The part of bench/results.ts that the table shows. */
const headSchema = z.object({
  id: z.string(),
  started_at: z.string(),
  host: z.object({ commit: z.string(), dirty: z.boolean() }),
  quick: z.boolean(),
  complete: z.boolean(),
  rounds: z.int(),
  runs: z.array(z.unknown()),
  seconds: z.number(),
});

/** @param folder see catalogDir. @throws UnderstudyError catalog-unusable */
export function addBenchmark(folder: string, dir: string): void {
  try {
    makePrivateDirs(folder);
    addLink(folder, canonicalDir(dir), KIND);
  } catch (error) {
    throw unusable(folder, error);
  }
  listBenchmarks(folder);
}

/** Those that are still there, newest first. @throws UnderstudyError catalog-unusable */
export function listBenchmarks(folder: string): BenchmarkEntry[] {
  if (!existsSync(folder)) return [];
  const open = openDatabase(folder, BUSY_MS);
  try {
    const { db } = open;
    const insert = db.prepare(
      'INSERT INTO benchmarks VALUES (@dir, @id, @startedAt, @commit, @dirty, @quick, ' +
        '@complete, @rounds, @runs, @seconds)',
    );
    const entries = listLinks(folder, KIND).flatMap((dir) => {
      const entry = read(dir);
      if (entry === null && !existsSync(dir)) removeLink(folder, dir, KIND);
      return entry === null ? [] : [entry];
    });
    db.transaction(() => {
      db.prepare('DELETE FROM benchmarks').run();
      for (const entry of entries) {
        const { dirty, quick, complete, rounds, runs } = entry;
        const numbers = { dirty: Number(dirty), quick: Number(quick), complete: Number(complete) };
        insert.run({ ...entry, ...numbers, rounds, runs });
      }
    }).immediate();
    return entries.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
  } catch (error) {
    throw unusable(folder, error);
  } finally {
    open.close();
  }
}

/** Null: there is none, or it is not one of ours. */
function read(dir: string): BenchmarkEntry | null {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(join(dir, 'results.json'), 'utf8'));
  } catch {
    return null;
  }
  const head = headSchema.safeParse(value);
  if (!head.success) return null;
  const { id, started_at, host, quick, complete, rounds, runs, seconds } = head.data;
  return {
    dir,
    id,
    startedAt: started_at,
    commit: host.commit,
    dirty: host.dirty,
    quick,
    complete,
    rounds,
    runs: runs.length,
    seconds,
  };
}
