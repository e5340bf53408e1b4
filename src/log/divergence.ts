// SPDX-License-Identifier: Apache-2.0
/**
 * A divergence as a report: what the log expected, what the guest did, where,
 * and the records around it.
 */
import { z } from 'zod';
import { UnderstudyError } from '../base/errors.ts';
import { atIcount, comparePoints, formatPosition, type Position } from '../base/position.ts';
import { positionFields } from '../base/position-json.ts';
import type { LogRecord } from './batch.ts';
import { describeRecord } from './describe.ts';
import { DIGEST_KIND, KIND } from './kinds.ts';
import { LogReader } from './log-reader.ts';

const integer = z.union([z.number(), z.string()]).transform((value) => BigInt(value));

const positionOf = (icount: bigint, vtimeNs: bigint): Position => ({
  point: atIcount(icount),
  vtimeNs,
});

/** Parts of a digest; which of them differ is the first clue. */
const PARTS = {
  cpu: 'CPU registers',
  ram: 'RAM',
  devices: 'devices',
  outputs: 'outputs (hash chain)',
  outputsCount: 'outputs (packets, hexadecimal)',
} as const;
type Part = keyof typeof PARTS;

/** What QEMU leaves in shm.error (qemu/exitlog/core/divergence.c). */
const qemuReport = z.object({
  reason: z.string(),
  /** Where the guest is; QEMU may not be able to say. */
  icount: integer.optional(),
  vtimeNs: integer.optional(),
  expected: z
    .object({
      ordinal: integer,
      icount: integer,
      vtimeNs: integer,
      kind: z.string(),
      channel: z.number(),
      len: z.number(),
      arg: z.string(),
    })
    .nullish(),
  /** The last digest of the log that was equal; null: none was. */
  lastEqualDigest: z
    .object({ icount: integer, vtimeNs: integer })
    .transform(({ icount, vtimeNs }) => positionOf(icount, vtimeNs))
    .nullish(),
  /** When it is a digest that differs: expected and actual of each part that does. */
  parts: z
    .partialRecord(
      z.enum(Object.keys(PARTS) as [Part, ...Part[]]),
      z.tuple([z.string(), z.string()]),
    )
    .optional(),
});

export type QemuReport = z.output<typeof qemuReport>;

/** A divergence, with what QEMU said of it (null: it could not say anything). */
export class DivergenceError extends UnderstudyError {
  readonly report: QemuReport | null;

  constructor(message: string, report: QemuReport | null) {
    super('divergence', message, report === null ? {} : { details: reportDetails(report) });
    this.report = report;
  }
}

const RECORDS_BEFORE = 6;
const RECORDS_AFTER = 3;
/** An interval that could not be narrowed may have thousands. */
const RECORDS_SHOWN_MAX = 20;

/** QEMU's JSON, or null when it is none (it died before it could write one). */
export function parseReport(text: string): QemuReport | null {
  try {
    const result = qemuReport.safeParse(JSON.parse(text));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}

/** Where the guest was; null: QEMU could not say. */
export function guestAt({ icount, vtimeNs }: QemuReport): Position | null {
  return icount === undefined || vtimeNs === undefined ? null : positionOf(icount, vtimeNs);
}

/** What a report says, a line each, without the log around it. */
export function describeReport(report: QemuReport): string[] {
  const { expected, parts, lastEqualDigest } = report;
  const lines = [report.reason];
  const at = guestAt(report);
  if (at !== null) lines.push(`  the guest is at    ${formatPosition(at)}`);
  if (lastEqualDigest !== undefined) {
    const since = lastEqualDigest === null ? 'power-on' : formatPosition(lastEqualDigest);
    lines.push(`  it was equal at    ${since}`);
  }
  for (const [part, [want, got]] of Object.entries(parts ?? {})) {
    lines.push(`  ${PARTS[part as Part]}: expected ${want}, actual ${got}`);
  }
  if (expected !== undefined && expected !== null) {
    const at = formatPosition(positionOf(expected.icount, expected.vtimeNs));
    lines.push(`  the log expected   record ${expected.ordinal}, ${expected.kind}, at ${at}`);
  }
  return lines;
}

/** As JSON: what is behind a position is in `reason`, or in `parts` for a digest. */
export function reportDetails(report: QemuReport): Record<string, unknown> {
  return {
    reason: report.reason,
    icount: report.icount ?? null,
    vtime_ns: report.vtimeNs ?? null,
    expected: report.expected ?? null,
    last_equal_digest:
      report.lastEqualDigest == null ? null : positionFields(report.lastEqualDigest),
    parts: Object.entries(report.parts ?? {}).map(([part, [want, got]]) => ({
      part,
      expected: want,
      actual: got,
    })),
  };
}

/**
 * The error for a replay that diverged. Reads the log again for the records
 * around; a log that is damaged there only shortens the context.
 * @param error shm.error, or QEMU's stderr if that is empty
 */
export async function divergenceError(error: string, logDir: string): Promise<DivergenceError> {
  const report = parseReport(error);
  if (report === null) return new DivergenceError(`replay diverged: ${error.trim()}`, null);
  const [reason = '', ...lines] = describeReport(report);
  if (report.expected !== undefined && report.expected !== null) {
    const { ordinal } = report.expected;
    const around = await recordsAround(logDir, ordinal);
    if (around.length > 0) lines.push('  in the log:');
    for (const record of around) {
      lines.push(`  ${record.ordinal === ordinal ? '→' : ' '} ${describeRecord(record)}`);
    }
  }
  return new DivergenceError([`replay diverged: ${reason}`, ...lines].join('\n'), report);
}

/**
 * The records from a little before one position to a little after another, but
 * for periodic digests: between two inputs there may be hundreds.
 */
export async function recordsAroundPosition(
  logDir: string,
  from: Position,
  to: Position,
): Promise<LogRecord[]> {
  const before: LogRecord[] = [];
  const rest: LogRecord[] = [];
  let after = 0;
  try {
    for await (const { batch } of new LogReader(logDir, { tail: 'torn', fromIndex: 'oldest' })) {
      for (const record of batch.records()) {
        if (record.kind === KIND.DIGEST && record.channel === DIGEST_KIND.PERIODIC) continue;
        if (comparePoints(record.point, from.point) < 0) {
          before.push(record);
          if (before.length > RECORDS_BEFORE) before.shift();
          continue;
        }
        const isAfter = comparePoints(record.point, to.point) > 0;
        if (!isAfter && rest.length < RECORDS_SHOWN_MAX) {
          rest.push(record);
        } else if (isAfter && after < RECORDS_AFTER) {
          rest.push(record);
          after += 1;
        }
      }
      if (after === RECORDS_AFTER) break;
    }
  } catch {
    // As above: what is wrong further on in the log is not the news.
  }
  return [...before, ...rest];
}

/** The records before and after an ordinal. Reads no further than needed. */
export async function recordsAround(logDir: string, ordinal: bigint): Promise<LogRecord[]> {
  const from = ordinal - BigInt(RECORDS_BEFORE);
  const to = ordinal + BigInt(RECORDS_AFTER);
  const found: LogRecord[] = [];
  try {
    for await (const { batch } of new LogReader(logDir, { tail: 'torn', fromIndex: 'oldest' })) {
      const { recordBase, recordEnd } = batch.header;
      if (recordEnd <= from) continue;
      if (recordBase > to) break;
      for (const record of batch.records()) {
        if (record.ordinal >= from && record.ordinal <= to) found.push(record);
      }
    }
  } catch {
    // The divergence is the news, not what is wrong further on in the log.
  }
  return found;
}
