// SPDX-License-Identifier: Apache-2.0
/** `understudy replay --bisect DIR [--against-qemu PATH]`, and what it shows. */

import { colour } from '../base/colour.ts';
import { EXIT, UnderstudyError } from '../base/errors.ts';
import { formatCount } from '../base/format.ts';
import { createLogger } from '../base/logger.ts';
import { comparePoints, formatPosition, type Position, sincePowerOn } from '../base/position.ts';
import { positionFields } from '../base/position-json.ts';
import type { LogRecord } from '../log/batch.ts';
import { describeContent, describeRecord } from '../log/describe.ts';
import { recordsAroundPosition, reportDetails } from '../log/divergence.ts';
import { openRecording } from '../recording/folder.ts';
import { type Bisection, bisect } from '../replay/bisect.ts';
import { checkSame } from '../replay/replayer.ts';
import type { Differences } from '../replay/state-diff.ts';
import { faultFromEnv } from '../vm/qemu-args.ts';
import { findQemu, otherQemu } from '../vm/qemu-binary.ts';
import { printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

export interface BisectFlags {
  readonly againstQemu?: string;
  readonly json?: true;
}

export async function bisectAndReport(dir: string, flags: BisectFlags): Promise<void> {
  const recording = openRecording(dir);
  const reference = await findQemu();
  const suspect =
    flags.againstQemu === undefined ? reference : await otherQemu(flags.againstQemu, reference);
  await checkSame(recording, reference);
  const abort = new AbortController();
  const signals = onSignals(() =>
    abort.abort(new UnderstudyError('interrupted', 'the bisection was interrupted')),
  );
  try {
    const result = await bisect(
      {
        dir,
        reference,
        suspect,
        fault: faultFromEnv(),
        logger: createLogger({ name: 'bisect' }),
        onStep: (text) => {
          if (process.stderr.isTTY) say(colour.dim(text));
        },
      },
      abort.signal,
    );
    const { equal, different } = result;
    const records =
      different === null ? [] : await recordsAroundPosition(recording.paths.log, equal, different);
    if (flags.json === true) printJson(bisectionJson(result, records));
    else for (const line of bisectionLines(result, records)) process.stdout.write(`${line}\n`);
    if (result.found !== 'none') process.exitCode = EXIT.divergence;
  } finally {
    signals.close();
  }
}

const HEADLINE: Readonly<Record<Bisection['found'], string>> = {
  none: 'the replay agrees with the log, to its end: there is nothing to bisect',
  position: 'found: the first position at which the replay differs',
  interval: 'narrowed to an interval, no further',
  recording: 'the recording itself differs from every replay of it',
};

/** For people. */
export function bisectionLines(result: Bisection, records: readonly LogRecord[]): string[] {
  const { found, why, equal, different, noticed, differences, replays, startedAt } = result;
  const lines = [colour.bold(HEADLINE[found])];
  if (why !== null) lines.push(`  ${why}`);
  if (different === null) return lines;
  lines.push(`  equal at           ${formatPosition(equal)}`);
  lines.push(`  different at       ${formatPosition(different)}`);
  if (noticed !== null) lines.push(`  noticed as         ${noticed.message.split('\n')[0] ?? ''}`);
  const began =
    startedAt === null ? '' : `, from the checkpoint at ${formatCount(sincePowerOn(startedAt))}`;
  lines.push(`  replays            ${replays}${began}`);
  if (differences !== null) lines.push(...differenceLines(differences));
  lines.push('', 'records of the log around it:');
  if (records.length === 0) lines.push('  none near');
  for (const record of records) {
    lines.push(`  ${inside(record, equal, different) ? '→' : ' '} ${describeRecord(record)}`);
  }
  return lines;
}

export function differenceLines(found: Differences): string[] {
  const { registers, registersDifferent, sections, pages, pagesDifferent } = found;
  const lines = ['', 'registers (of the reference):'];
  for (const line of registers.filter((line) => !VECTOR.test(line))) lines.push(`    ${line}`);
  if (registersDifferent.length === 0) lines.push('  all the same');
  lines.push(...registersDifferent.flatMap(pair));
  lines.push('', sections.length === 0 ? 'devices: all the same' : 'saved state that differs:');
  for (const section of sections) {
    lines.push(
      `  ${section.section}, byte ${section.offset} of ${section.bytes}:`,
      ...pair(section),
    );
  }
  lines.push('', pagesDifferent === 0 ? 'memory: all the same' : `memory: ${pageCount(found)}`);
  for (const page of pages) {
    const where = page.gpa === null ? 'not mapped' : `guest-physical 0x${page.gpa.toString(16)}`;
    const offset = `0x${page.offset.toString(16)}`;
    lines.push(`  ${page.block} + ${offset}, ${where}: ${page.bytesDifferent} bytes differ`);
    for (const { address, expected, actual } of page.rows) {
      const name = `0x${address.toString(16)}  `;
      lines.push(...pair({ expected: name + spaced(expected), actual: name + spaced(actual) }));
    }
  }
  return lines;
}

/** Vector registers fill a screen; when they differ they are shown as such. */
const VECTOR = /^(XMM|YMM|FPR|FCW|Opmask)/;

function pageCount({ pages, pagesDifferent }: Differences): string {
  const few = pagesDifferent > pages.length ? `, the first ${pages.length} of them` : '';
  return `${formatCount(pagesDifferent)} page(s) differ${few}`;
}

function pair({ expected, actual }: { expected: string; actual: string }): string[] {
  return [`    ${colour.green(`expected ${expected}`)}`, `    ${colour.red(`actual   ${actual}`)}`];
}

function spaced(hex: string): string {
  return hex.replaceAll(/(..)(?=.)/g, '$1 ');
}

function inside(record: LogRecord, equal: Position, different: Position): boolean {
  const { point } = record;
  return comparePoints(point, equal.point) >= 0 && comparePoints(point, different.point) <= 0;
}

/** For machines. */
export function bisectionJson(result: Bisection, records: readonly LogRecord[]): object {
  const { noticed, differences, different, equal } = result;
  return {
    found: result.found,
    why: result.why,
    equal: positionFields(equal),
    different: different === null ? null : positionFields(different),
    noticed:
      noticed === null
        ? null
        : {
            message: noticed.message,
            ...(noticed.report === null ? {} : reportDetails(noticed.report)),
          },
    replays: result.replays,
    started_at: result.startedAt === null ? null : sincePowerOn(result.startedAt),
    differences:
      differences === null
        ? null
        : {
            at: positionFields(differences.at),
            registers: differences.registers,
            registers_different: differences.registersDifferent,
            sections: differences.sections,
            pages_different: differences.pagesDifferent,
            pages: differences.pages.map(({ bytesDifferent, rows, ...page }) => ({
              ...page,
              bytes_different: bytesDifferent,
              rows,
            })),
          },
    records: records.map((record) => ({
      ordinal: record.ordinal,
      ...positionFields(record),
      text: describeContent(record),
    })),
  };
}
