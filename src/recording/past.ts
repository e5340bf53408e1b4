// SPDX-License-Identifier: Apache-2.0
/**
 * What a daemon with `history` keeps of each VM that it has run, so that a part of it can
 * be replayed (collect.ts). In its state folder, beside log/:
 *
 *   history/LOG/past.json  Past: of which VM, when it began, its logs
 *              /VM.toml kernel initrd disks/   the VM as it was then
 *              /replayed/checkpoints/          while this side was the backup
 *              /lived/checkpoints/             while the VM was live here
 *
 * A side has one log per part: what a backup replayed ends where it took over, and what
 * it lived through then is in a log of its own, with records counted from 0.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { manifestSchema } from './folder.ts';

export const PARTS = ['replayed', 'lived'] as const;
export type Part = (typeof PARTS)[number];

const pastSchema = z.object({
  format: z.literal(1),
  /** Manifest of a recording made of it, but for the hashes of the disks. */
  manifest: manifestSchema,
  /** power-on: a replay can start without a checkpoint. */
  begins: z.enum(['power-on', 'checkpoint']),
  /** How much history was asked for. */
  history_ms: z.int().positive(),
  /** Names of its logs; null: it never has this part. */
  logs: z.object({ replayed: z.string().nullable(), lived: z.string() }),
});

export type Past = z.output<typeof pastSchema>;

/** One log, and what there is to replay it. */
export interface KeptLog {
  readonly past: Past;
  readonly part: Part;
  /** The folder of the VM and its disks. */
  readonly dir: string;
  readonly log: string;
  readonly checkpoints: string;
  /** In which the log began. */
  readonly term: number;
}

export function pastFile(dir: string): string {
  return join(dir, 'past.json');
}

/** What QEMU writes; its parent is there as long as checkpoints are wanted. */
export function checkpointsOf(dir: string, part: Part): string {
  return join(dir, part, 'checkpoints');
}

/** Name of a log's folder, for a VM id as hex. */
export function logName(vmId: string, term: number): string {
  return term === 1 ? vmId : `${vmId}-term-${term}`;
}

function termOf(name: string): number {
  return Number(/-term-(\d+)$/.exec(name)?.[1] ?? 1);
}

/** @throws UnderstudyError log-corrupt */
function readPast(dir: string): Past {
  const path = pastFile(dir);
  try {
    return pastSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UnderstudyError('log-corrupt', `${path} is damaged: ${messageOf(cause)}`, { cause });
  }
}

export function historyDir(stateDir: string): string {
  return join(stateDir, 'history');
}

/**
 * The logs of a state folder of which something is kept, oldest first. It may belong to
 * a daemon that runs, or to none any more.
 * @throws UnderstudyError log-corrupt
 */
export function keptLogs(stateDir: string): KeptLog[] {
  return pastDirs(stateDir)
    .flatMap((dir) => logsOf(stateDir, dir))
    .sort((a, b) => order(a.past.manifest.created, b.past.manifest.created) || a.term - b.term);
}

/** One folder for each VM that has run, whole or not. */
export function pastDirs(stateDir: string): string[] {
  const history = historyDir(stateDir);
  return existsSync(history) ? readdirSync(history).map((name) => join(history, name)) : [];
}

/** Those of its logs that are there. @throws UnderstudyError log-corrupt */
export function logsOf(stateDir: string, dir: string): KeptLog[] {
  if (!existsSync(pastFile(dir))) return [];
  const past = readPast(dir);
  return PARTS.flatMap((part) => {
    const name = past.logs[part];
    const log = join(stateDir, 'log', name ?? '');
    if (name === null || !existsSync(log)) return [];
    return [{ past, part, dir, log, checkpoints: checkpointsOf(dir, part), term: termOf(name) }];
  });
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
