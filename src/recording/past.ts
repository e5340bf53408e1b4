// SPDX-License-Identifier: Apache-2.0
/**
 * What a daemon with `history` keeps of each VM that it has run, so that a part of it can
 * be replayed (collect.ts). In its state folder, beside log/:
 *
 *   history/LOG/past.json  Past: of which VM, when it began, its log
 *              /VM.toml kernel initrd disks/   the VM as it was then
 *              /checkpoints/
 *
 * A side has one log for each VM, through take-overs. Format 1, from when a survivor's log
 * was another one with records counted from 0, is still read: it has checkpoints in
 * replayed/ (until this side took over) and in lived/ (while the VM was live here).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { manifestSchema } from './folder.ts';

const common = {
  /** Manifest of a recording made of it, but for the hashes of the disks. */
  manifest: manifestSchema,
  /** power-on: a replay can start without a checkpoint. */
  begins: z.enum(['power-on', 'checkpoint']),
  /** How much history was asked for. */
  history_ms: z.int().positive(),
};

const pastSchema = z.object({
  format: z.literal(2),
  ...common,
  /** What this side was when the log began. */
  as: z.enum(['primary', 'backup']),
  /** Name of its folder. */
  log: z.string(),
});

const partedSchema = z.object({
  format: z.literal(1),
  ...common,
  /** Names; null: it never has this part. */
  logs: z.object({ replayed: z.string().nullable(), lived: z.string() }),
});

export type Past = z.output<typeof pastSchema>;
type AnyPast = Past | z.output<typeof partedSchema>;

/** One log, and what there is to replay it. */
export interface KeptLog extends Pick<Past, 'manifest' | 'begins' | 'history_ms' | 'as'> {
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
export function checkpointsOf(dir: string): string {
  return join(dir, 'checkpoints');
}

/** Name of a log's folder, for a VM id as hex. */
export function logName(vmId: string, term: number): string {
  return term === 1 ? vmId : `${vmId}-term-${term}`;
}

function termOf(name: string): number {
  return Number(/-term-(\d+)$/.exec(name)?.[1] ?? 1);
}

/** @throws UnderstudyError log-corrupt */
function readPast(dir: string): AnyPast {
  const path = pastFile(dir);
  try {
    const schema = z.discriminatedUnion('format', [pastSchema, partedSchema]);
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
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
    .sort((a, b) => order(a.manifest.created, b.manifest.created) || a.term - b.term);
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
  const { manifest, history_ms } = past;
  return placesOf(past, dir)
    .map(({ name, ...place }) => ({
      manifest,
      history_ms,
      dir,
      log: join(stateDir, 'log', name),
      term: termOf(name),
      ...place,
    }))
    .filter(({ log }) => existsSync(log));
}

type Place = Pick<KeptLog, 'begins' | 'as' | 'checkpoints'> & { readonly name: string };

function placesOf(past: AnyPast, dir: string): Place[] {
  const { begins } = past;
  if (past.format === 2) {
    return [{ begins, as: past.as, name: past.log, checkpoints: checkpointsOf(dir) }];
  }
  const { replayed, lived } = past.logs;
  const checkpoints = (part: string): string => join(dir, part, 'checkpoints');
  const own = { name: lived, checkpoints: checkpoints('lived') };
  if (replayed === null) return [{ begins, as: 'primary', ...own }];
  return [
    { begins, as: 'backup', name: replayed, checkpoints: checkpoints('replayed') },
    // A survivor's own log began where it took over.
    { begins: 'checkpoint', as: 'primary', ...own },
  ];
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
