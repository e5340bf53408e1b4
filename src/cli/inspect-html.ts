// SPDX-License-Identifier: Apache-2.0
/** `understudy inspect DIR --html FILE`: the log as a page to look at (src/timeline/). */
import { existsSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { EXIT, UnderstudyError, writeError } from '../base/errors.ts';
import { formatBytes, formatCount } from '../base/format.ts';
import { collect, type Timeline } from '../timeline/collect.ts';
import { timelineJson } from '../timeline/facts.ts';
import { timelinePage } from '../timeline/page.ts';
import { printJson, say } from './output.ts';

export interface HtmlFlags {
  readonly html: string;
  readonly force?: true;
  readonly json?: true;
}

/** @param dir as given; @param log the folder of its segments */
export async function writeTimeline(dir: string, log: string, flags: HtmlFlags): Promise<void> {
  const file = resolve(flags.html);
  checkFile(file, resolve(dir), flags.force === true);
  const timeline = await collect(log);
  if (timeline.segments === 0 && timeline.damageCount === 0) {
    throw new UnderstudyError('not-a-recording', `${log} has no exit log in it`);
  }
  const page = timelinePage(resolve(dir), timeline);
  writeWhole(file, page);
  report(dir, file, Buffer.byteLength(page), timeline, flags.json === true);
  if (timeline.damageCount > 0) process.exitCode = EXIT.badLog;
}

/** Before the log is read, which may take a while. */
function checkFile(file: string, dir: string, force: boolean): void {
  const folder = dirname(file);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new UnderstudyError('file-io', `cannot write ${file}: ${folder} is not a folder`);
  }
  const [first] = relative(realpathSync(dir), realpathSync(folder)).split('/');
  if (first !== '..') {
    throw new UnderstudyError(
      'usage',
      `${file} is inside ${dir}, which inspect never changes: give a file elsewhere`,
    );
  }
  if (!existsSync(file)) return;
  if (statSync(file).isDirectory()) {
    throw new UnderstudyError('output-exists', `${file} is a folder: give a file`);
  }
  if (!force) {
    throw new UnderstudyError(
      'output-exists',
      `${file} exists: give another file, or --force to replace it`,
    );
  }
}

/** The old file or the new one, never a part. */
function writeWhole(file: string, page: string): void {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}`);
  try {
    writeFileSync(temporary, page, { flag: 'wx' });
    renameSync(temporary, file);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw writeError(`the page ${file}`, cause);
  }
}

function report(dir: string, file: string, bytes: number, timeline: Timeline, json: boolean): void {
  const { rows, records, damage, damageCount } = timeline;
  if (json) {
    printJson({ dir: resolve(dir), html: file, html_bytes: bytes, ...timelineJson(timeline) });
    return;
  }
  process.stdout.write(
    `${file}: ${formatBytes(bytes)}, ${formatCount(records)} records in ` +
      `${formatCount(rows.length)} rows\n`,
  );
  for (const { file: where, offset, reason } of damage) {
    say(`damaged ${where} at byte ${offset}: ${reason}`);
  }
  if (damageCount > damage.length) say(`… and ${damageCount - damage.length} more`);
}
