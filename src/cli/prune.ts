// SPDX-License-Identifier: Apache-2.0
/** `understudy prune`: deletes recordings by count, age and size. */
import type { Command } from 'commander';
import { EXIT, UnderstudyError } from '../base/errors.ts';
import { formatBytes, formatCount } from '../base/format.ts';
import type { Run } from '../catalog/catalog.ts';
import { type Pruned, prune, removeLeftovers, removeRecording } from '../catalog/prune.ts';
import { parseAge, parseBytes, parseCount } from './arguments.ts';
import { openCatalog } from './catalog.ts';
import { printJson, say } from './output.ts';

interface PruneFlags {
  readonly keep?: number;
  readonly olderThan?: number;
  readonly largerThan?: number;
  readonly missing?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('prune')
    .description('delete recordings: all but the newest, old ones, or until they fit')
    .option('--keep <N>', 'keep the N newest', parseCount)
    .option('--older-than <AGE>', 'delete those that began longer ago, such as 30d', parseAge)
    .option('--larger-than <SIZE>', 'delete the oldest until all use at most, say, 10G', parseBytes)
    .option('--missing', 'forget those of which the folder is gone')
    .option('--dry-run', 'say what would be deleted, and delete nothing')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\nIt deletes what `understudy ls` lists, and a recording that one criterion condemns.\n' +
        'One that is being recorded, replayed or packed is skipped, which is said. Exit code 1:\n' +
        'one could not be deleted for another reason.',
    )
    .action(run);
}

async function run(flags: PruneFlags): Promise<void> {
  const criteria = {
    keep: flags.keep ?? null,
    olderThanMs: flags.olderThan ?? null,
    totalBytesMax: flags.largerThan ?? null,
  };
  const isEmpty = Object.values(criteria).every((value) => value === null);
  if (isEmpty && flags.missing !== true) {
    throw new UnderstudyError(
      'usage',
      'prune needs at least one of --keep N, --older-than AGE, --larger-than SIZE, --missing: ' +
        'nothing is deleted without being asked for',
    );
  }
  const dryRun = flags.dryRun === true;
  const catalog = openCatalog();
  try {
    const runs = await catalog.refresh(catalog.known());
    const gone = runs.filter(({ state }) => state === 'missing');
    if (!dryRun) for (const { dir } of gone) removeLeftovers(dir);
    const outcomes = prune(runs, criteria, Date.now(), (one) => {
      const refusal = removeRecording(one, dryRun);
      if (refusal === null && !dryRun) catalog.forget(one.dir);
      return refusal;
    });
    const forgotten = flags.missing === true ? gone : [];
    if (!dryRun) for (const { dir } of forgotten) catalog.forget(dir);
    report(outcomes, forgotten, flags);
  } finally {
    catalog.close();
  }
}

function report(outcomes: readonly Pruned[], forgotten: readonly Run[], flags: PruneFlags): void {
  const deleted = outcomes.filter(({ refusal }) => refusal === null);
  const bytes = deleted.reduce((sum, { run }) => sum + run.diskBytes, 0);
  const skipped = outcomes.flatMap(({ run, why, refusal }) =>
    refusal === null ? [] : [{ run, why, ...refusal }],
  );
  if (skipped.some(({ inUse }) => !inUse)) process.exitCode = EXIT.failure;
  if (flags.json === true) {
    printJson({
      dry_run: flags.dryRun === true,
      deleted: deleted.map(({ run, why }) => ({ dir: run.dir, disk_bytes: run.diskBytes, why })),
      skipped: skipped.map(({ run, why, inUse, because }) => ({
        dir: run.dir,
        why,
        in_use: inUse,
        reason: because,
      })),
      forgotten: forgotten.map(({ dir }) => dir),
      disk_bytes: bytes,
    });
    return;
  }
  const verb = flags.dryRun === true ? 'would delete' : 'deleted';
  for (const { run, why } of deleted) {
    process.stdout.write(`${verb} ${run.dir} (${formatBytes(run.diskBytes)}, ${why})\n`);
  }
  for (const { dir } of forgotten) {
    process.stdout.write(`${flags.dryRun === true ? 'would forget' : 'forgot'} ${dir}\n`);
  }
  for (const { run, why, because } of skipped) say(`skipped ${run.dir} (${why}): ${because}`);
  say(`${verb} ${formatCount(deleted.length)} recording(s), ${formatBytes(bytes)}`);
}
