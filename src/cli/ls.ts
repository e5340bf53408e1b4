// SPDX-License-Identifier: Apache-2.0
/** `understudy ls [DIR…]`: the recordings that are known, newest first. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { UnderstudyError } from '../base/errors.ts';
import { formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { sincePowerOn } from '../base/position.ts';
import { NO_POSITION, positionFields } from '../base/position-json.ts';
import { rightAligned, textTable } from '../base/text-table.ts';
import type { Catalog, Run } from '../catalog/catalog.ts';
import { canonicalDir } from '../catalog/links.ts';
import type { RunState } from '../catalog/scan.ts';
import { recordingPaths } from '../recording/folder.ts';
import { openCatalog } from './catalog.ts';
import { printJson, say } from './output.ts';

export function register(program: Command): void {
  program
    .command('ls')
    .description('the recordings of this user, newest first')
    .argument('[DIR...]', 'only these: recordings, or folders of recordings; they are remembered')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\nThe list is made from the recordings themselves; what is kept of it, and where:\n' +
        '$UNDERSTUDY_CATALOG_DIR, by default $XDG_STATE_HOME/understudy/catalog.\n' +
        'A recording that has moved or vanished stays in it, as missing, until\n' +
        '`understudy ls NEW_PLACE` finds it or `understudy prune --missing` forgets it.',
    )
    .action(run);
}

async function run(dirs: readonly string[], flags: { json?: true }): Promise<void> {
  const catalog = openCatalog();
  try {
    const wanted = dirs.length === 0 ? null : await remember(catalog, dirs);
    const runs = await catalog.refresh(wanted ?? catalog.known());
    if (flags.json === true) {
      printJson({ catalog: catalog.folder, recordings: runs.map(runJson) });
    } else if (runs.length === 0) {
      say('no recording is known: `understudy record` makes one, `understudy ls DIR` finds others');
    } else {
      print(runs);
    }
  } finally {
    catalog.close();
  }
}

/**
 * Adds what is in the folders given to the catalog; canonical paths.
 * @throws UnderstudyError not-a-recording for one that is none, has none and is not known
 */
async function remember(catalog: Catalog, dirs: readonly string[]): Promise<string[]> {
  const known = new Set(catalog.known());
  const found: string[] = [];
  for (const given of dirs) {
    const dir = canonicalDir(given);
    const inside = [dir, ...subfolders(dir)].filter((one) =>
      existsSync(recordingPaths(one).manifest),
    );
    if (inside.length === 0 && !known.has(dir)) {
      throw new UnderstudyError(
        'not-a-recording',
        `${resolve(given)} ${existsSync(dir) ? 'is not a recording and has none in it' : 'is not there'}`,
      );
    }
    for (const one of inside) if (!known.has(one)) await catalog.add(one);
    found.push(...(inside.length > 0 ? inside : [dir]));
  }
  return [...new Set(found)];
}

function subfolders(dir: string): string[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) return [];
  return (
    readdirSync(dir, { withFileTypes: true })
      // Hidden ones are being unpacked, or deleted.
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => join(dir, entry.name))
  );
}

export function runJson(run: Run): object {
  return {
    dir: run.dir,
    state: run.state,
    reason: run.reason,
    name: run.name,
    vm_id: run.vmId,
    created: run.created,
    ...(run.position === null ? NO_POSITION : positionFields(run.position)),
    wall_s: run.wallS,
    digest: run.digest,
    log_bytes: run.logBytes,
    disk_bytes: run.diskBytes,
    segments: run.segments,
    digests: run.digests,
    checkpoints: run.checkpoints,
  };
}

const STATE: Readonly<Record<RunState, string>> = {
  recording: colour.cyan('recording'),
  complete: colour.green('complete'),
  incomplete: colour.yellow('incomplete'),
  damaged: colour.red('damaged'),
  'missing-files': colour.red('missing files'),
  missing: colour.red('missing'),
};

function print(runs: readonly Run[]): void {
  const table = textTable({
    head: [
      'recording',
      'VM',
      'started',
      'instructions',
      'time',
      'log',
      'on disk',
      'digests',
      'checkpoints',
      'state',
    ],
    compact: true,
  });
  for (const run of runs) {
    table.push([
      run.dir,
      run.name ?? '',
      run.created === null ? '' : localTime(run.created),
      rightAligned(run.position === null ? '' : formatCount(sincePowerOn(run.position.point))),
      rightAligned(run.wallS === null ? '' : formatDuration(run.wallS * 1000)),
      rightAligned(formatBytes(run.logBytes)),
      rightAligned(formatBytes(run.diskBytes)),
      rightAligned(formatCount(run.digests)),
      rightAligned(formatCount(run.checkpoints)),
      STATE[run.state],
    ]);
  }
  process.stdout.write(`${table.toString()}\n`);
  for (const run of runs) {
    if (run.reason !== null) say(`${run.dir}: ${run.reason}`);
  }
}

/** "2026-11-21 14:03:09", in this machine's time zone. */
function localTime(iso: string): string {
  const date = new Date(iso);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}
