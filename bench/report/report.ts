// SPDX-License-Identifier: Apache-2.0
/**
 * Everything that is made of results: figures as SVG, PNG and CSV, all values as CSV, and
 * one page. Nothing is measured for it, so it can be made again from a kept results.json.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, UnderstudyError, writeError } from '../../src/base/errors.ts';
import { FIGURES } from '../figures/index.ts';
import type { BenchResults } from '../results.ts';
import { csv, resultsCsv } from './csv.ts';
import { reportPage } from './page.ts';
import { svgToPng } from './png.ts';

export const REPORT_FILE = 'report.html';

/**
 * Overwrites what an earlier report left.
 * @param dir is made if it is not there
 * @returns paths of the files, the page first
 * @throws UnderstudyError disk-full, file-io
 */
export async function writeReport(results: BenchResults, dir: string): Promise<readonly string[]> {
  const figures = FIGURES.map((figure) => ({ figure, made: figure.make(results) }));
  const files = new Map<string, string | Buffer>([
    [REPORT_FILE, reportPage(results, figures)],
    ['results.csv', resultsCsv(results)],
  ]);
  for (const { figure, made } of figures) {
    const base = join('figures', figure.name);
    files.set(`${base}.svg`, made.svg);
    files.set(`${base}.png`, svgToPng(made.svg));
    files.set(`${base}.csv`, csv(made.columns, made.rows));
  }
  const written: string[] = [];
  try {
    await mkdir(join(dir, 'figures'), { recursive: true });
    for (const [name, content] of files) {
      const path = join(dir, name);
      await writeFile(path, content);
      written.push(path);
    }
  } catch (cause) {
    const error = writeError(`the report ${dir}`, cause);
    if (error.code === 'disk-full') throw error;
    throw new UnderstudyError('file-io', `cannot write the report ${dir}: ${messageOf(cause)}`, {
      cause,
    });
  }
  return written;
}
