// SPDX-License-Identifier: Apache-2.0
/** `understudy inspect DIR`: decodes a log, damaged or not; never modifies. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { EXIT, UnderstudyError } from '../base/errors.ts';
import { formatBitRate, formatBytes, formatCount } from '../base/format.ts';
import { nearest } from '../base/nearest.ts';
import { comparePoints, formatPoint, formatPosition, type Point } from '../base/position.ts';
import { positionFields } from '../base/position-json.ts';
import { rightAligned, textTable } from '../base/text-table.ts';
import type { LogRecord } from '../log/batch.ts';
import { describeContent, describeRecord } from '../log/describe.ts';
import { KINDS, kindName } from '../log/kinds.ts';
import { isSegmentName } from '../log/segment.ts';
import { type LogSummary, positionJson, summarise } from '../log/summary.ts';
import { type TermStart, termJson } from '../log/terms.ts';
import { openRecording, recordingPaths } from '../recording/folder.ts';
import { holdRecording } from '../recording/lock.ts';
import { parsePointOption } from './arguments.ts';
import { writeTimeline } from './inspect-html.ts';
import { printFacts, printJson, say } from './output.ts';

interface InspectFlags {
  readonly from?: Point;
  readonly to?: Point;
  readonly kind?: string;
  readonly records?: true;
  readonly html?: string;
  readonly force?: true;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('inspect')
    .description('decode a recording or the log of a daemon; never modifies it')
    .argument('<DIR>', 'a recording, the state folder of a daemon, or a folder of segments')
    .option('--records', 'list every record')
    .option('--from <ICOUNT>', 'list the records from this position on', parsePointOption)
    .option('--to <ICOUNT>', 'list the records up to this position', parsePointOption)
    .option('--kind <KIND,…>', `list only these kinds: ${[...KINDS.keys()].join(', ')}`)
    .option('--html <FILE>', 'write a timeline: one page, for a browser, that needs nothing else')
    .option('--force', 'replace FILE if it exists')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\nThe timeline shows exits by kind, outputs, log rate, idle time, lag, checkpoints and\n' +
        'digests over guest time, host time or instructions. Its size does not grow with the log.\n' +
        '\nExit code 11: the log is damaged; what can be decoded is shown.',
    )
    .action(run);
}

async function run(dir: string, flags: InspectFlags): Promise<void> {
  const paths = recordingPaths(dir);
  const hold = existsSync(paths.manifest) ? holdRecording(paths) : null;
  try {
    await inspect(dir, flags);
  } finally {
    hold?.release();
  }
}

async function inspect(dir: string, flags: InspectFlags): Promise<void> {
  const log = logFolder(dir);
  const kinds = flags.kind === undefined ? null : parseKinds(flags.kind);
  const listing =
    flags.records === true || kinds !== null || flags.from !== undefined || flags.to !== undefined;
  if (flags.html !== undefined) {
    if (listing) {
      throw new UnderstudyError('usage', '--html is of the whole log: it lists no records');
    }
    return writeTimeline(dir, log, { ...flags, html: flags.html });
  }
  if (flags.force === true) throw new UnderstudyError('usage', '--force is for --html');
  const list: object[] = [];
  const onRecord = (record: LogRecord): void => {
    if (!listing || !wanted(record, flags, kinds)) return;
    if (flags.json === true) list.push(recordJson(record));
    else process.stdout.write(`${describeRecord(record)}\n`);
  };
  const summary = await summarise(log, onRecord);
  if (summary.segments === 0) {
    throw new UnderstudyError('not-a-recording', `${log} has no exit log in it`);
  }
  if (flags.json === true) {
    printJson({ ...summaryJson(resolve(dir), summary), ...(listing ? { list } : {}) });
  } else {
    printSummary(resolve(dir), summary);
  }
  if (summary.damage.length > 0) process.exitCode = EXIT.badLog;
}

/** A recording keeps its segments in log/, a daemon in log/ID, one for each power-on. */
function logFolder(dir: string): string {
  const root = resolve(dir);
  if (!existsSync(root) || !statSync(root).isDirectory()) {
    throw new UnderstudyError('not-a-recording', `${root} is not a folder`);
  }
  const log = join(root, 'log');
  if (!existsSync(log)) return root;
  const names = readdirSync(log);
  if (names.some(isSegmentName)) return log;
  const logs = names
    .map((name) => join(log, name))
    .filter((path) => statSync(path).isDirectory() && readdirSync(path).some(isSegmentName));
  if (logs.length > 1) {
    throw new UnderstudyError('usage', `${root} has several logs: give one of ${logs.join(', ')}`);
  }
  return logs[0] ?? log;
}

function parseKinds(text: string): Set<number> {
  return new Set(
    text.split(',').map((word) => {
      const name = word.trim().toUpperCase();
      const found = KINDS.get(name);
      if (found !== undefined) return found;
      const hint = nearest(name, [...KINDS.keys()]) ?? '';
      throw new UnderstudyError('usage', `unknown kind "${word}"; the nearest is ${hint}`);
    }),
  );
}

function wanted(record: LogRecord, flags: InspectFlags, kinds: Set<number> | null): boolean {
  if (kinds !== null && !kinds.has(record.kind)) return false;
  if (flags.from !== undefined && comparePoints(record.point, flags.from) < 0) return false;
  return flags.to === undefined || comparePoints(record.point, flags.to) <= 0;
}

function recordJson(record: LogRecord): object {
  return {
    ordinal: record.ordinal,
    ...positionFields(record),
    kind: kindName(record.kind),
    channel: record.channel,
    len: record.len,
    text: describeContent(record),
    ...(record.payload === null
      ? { arg: record.arg }
      : { payload: Buffer.from(record.payload).toString('base64') }),
  };
}

function summaryJson(dir: string, summary: LogSummary): object {
  const byKind = [...summary.byKind].map(([kind, { count, bytes }]) => [
    kindName(kind),
    { count, bytes },
  ]);
  return {
    dir,
    vm_id: summary.vmId,
    log_version: summary.logVersion,
    qemu_build_id: summary.qemuBuildId,
    segments: summary.segments,
    first_segment: summary.firstSegment,
    batches: summary.batches,
    terms: summary.terms.map(termJson),
    records: summary.records,
    log_bytes: summary.bytes,
    payload_bytes: summary.payloadBytes,
    first: positionJson(summary.first),
    last: positionJson(summary.last),
    horizon: positionJson(summary.horizon),
    wall_s: summary.wallS,
    ended: summary.end?.reason ?? null,
    digest: summary.end?.digest ?? null,
    guest_clock_at_power_on: summary.rtcNs === null ? null : isoOf(summary.rtcNs),
    by_kind: Object.fromEntries(byKind),
    damage: summary.damage,
  };
}

function printSummary(dir: string, summary: LogSummary): void {
  const rows: Array<readonly [string, string]> = [['log', dir]];
  const manifest = manifestOf(dir, summary.rtcNs);
  if (manifest !== null) rows.push(...manifest);
  rows.push(
    ['VM', summary.vmId ?? 'unknown'],
    ['QEMU build', summary.qemuBuildId ?? 'unknown'],
    ['batches', `${formatCount(summary.batches)} in ${summary.segments} segment(s)`],
    ...begins(summary),
    ...termRows(summary.terms),
    ['records', formatCount(summary.records)],
    ['size', `${formatBytes(summary.bytes)} (payload ${formatBytes(summary.payloadBytes)})`],
  );
  if (summary.wallS > 0) rows.push(['rate', formatBitRate(summary.bytes, summary.wallS)]);
  if (summary.first !== null) rows.push(['first record', formatPosition(summary.first)]);
  if (summary.last !== null) rows.push(['last record', formatPosition(summary.last)]);
  if (summary.horizon !== null) rows.push(['horizon', formatPosition(summary.horizon)]);
  rows.push(['ended', endText(summary)]);
  if (summary.end !== null) rows.push(['digest', summary.end.digest]);
  printFacts(rows);
  if (summary.byKind.size > 0) {
    const table = textTable({
      head: ['kind', 'records', 'payload'],
    });
    for (const [kind, { count, bytes }] of summary.byKind) {
      table.push([
        kindName(kind),
        rightAligned(formatCount(count)),
        rightAligned(bytes === 0 ? '' : formatBytes(bytes)),
      ]);
    }
    process.stdout.write(`${table.toString()}\n`);
  }
  for (const { file, offset, bytes, reason } of summary.damage) {
    const size = bytes === 0 ? '' : ` (${formatCount(bytes)} bytes not decoded)`;
    say(`${colour.red('damaged')} ${file} at byte ${offset}${size}: ${reason}`);
  }
}

function begins({ firstSegment }: LogSummary): Array<readonly [string, string]> {
  if (firstSegment === null || firstSegment === 1) return [];
  return [['begins', `with segment ${firstSegment}: older ones have been deleted`]];
}

/** A log of one term says so by its folder, or it is the first. */
function termRows(terms: readonly TermStart[]): Array<readonly [string, string]> {
  if (terms.length < 2) return [];
  return terms.map(({ term, point, sequence, sealedAtNs }) => [
    `term ${term}`,
    `from ${formatPoint(point)}, batch ${formatCount(sequence)}, ${isoOf(sealedAtNs)}`,
  ]);
}

function endText(summary: LogSummary): string {
  if (summary.end === null) return 'no END: it was killed, or still runs';
  return summary.end.reason === 'poweroff' ? 'the guest powered off' : 'stopped by the operator';
}

function isoOf(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}

/** What vm.json says, when there is one that can be read: damage elsewhere is no obstacle. */
function manifestOf(dir: string, rtcNs: bigint | null): Array<readonly [string, string]> | null {
  try {
    const { manifest } = openRecording(dir);
    // Before the log had it the guest's clock began in whole seconds, when the daemon did.
    const powerOn = rtcNs === null ? `${manifest.rtc_base} UTC` : isoOf(rtcNs);
    return [
      ['name', manifest.name],
      ['recorded', `${manifest.created} on ${manifest.host.cpu}`],
      ['guest clock', `${powerOn} at power-on`],
    ];
  } catch {
    return null;
  }
}
