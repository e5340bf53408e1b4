// SPDX-License-Identifier: Apache-2.0
/** What the demo found out: one object for machines, a few lines for people. */

import { colourStderr } from '../base/colour.ts';
import { formatBitRate, formatCount, formatDuration } from '../base/format.ts';
import { type ClientResult, GAP_MS_MIN } from '../lab/client-events.ts';
import type { Gap } from '../lab/load.ts';
import type { DiskVerdict } from '../lab/survivor-disk.ts';
import type { Aftermath, Fault } from './fault.ts';
import { round } from './fault.ts';

export interface DemoResult {
  /** One VM, and only one, went on, and served its client to the end. */
  readonly survived: boolean;
  /** Answered, every byte right. */
  readonly requests: number;
  /** Sent and never answered, or answered and not on the survivor's disk. */
  readonly lost: number;
  readonly corrupted: number;
  /** Times the client's one connection broke. */
  readonly reconnects: number;
  /** The longest time without an answer from the fault on; 0: none of GAP_MS_MIN or more. */
  readonly stall_ms: number;
  readonly detect_ms: number | null;
  readonly golive_ms: number | null;
  /** Part of it spent on replaying the rest of the log. */
  readonly drain_ms: number | null;
  readonly log_bytes_per_s: number;
  /** Sound, and it holds every acknowledged request. */
  readonly disk_ok: boolean;
  readonly duplicated: number;
  /** The same before the fault. */
  readonly stall_before_ms: number;
  /** How far behind the backup's execution was, 100 ms before the fault. */
  readonly lag_before_ms: number | null;
  readonly latency_ms: ClientResult['latency_ms'];
  readonly protocol: string;
  /** Epochs that were cut before the fault, and how long the guest stood still for one, on average; null: none are. */
  readonly cuts: number | null;
  readonly cut_pause_ms: number | null;
  readonly fault: Fault;
  readonly survivor: string | null;
  readonly seed: number;
  readonly fault_after_ms: number;
  /** What is wrong, for people; '' when all is well. */
  readonly problem: string;
}

/** As `status` of the primary has them. */
export type Cuts = Pick<DemoResult, 'cuts' | 'cut_pause_ms'>;

export interface Findings {
  readonly protocol: string;
  readonly cuts: Cuts;
  readonly fault: Fault;
  readonly seed: number;
  readonly faultAfterMs: number;
  readonly aftermath: Aftermath;
  readonly client: ClientResult;
  readonly gaps: readonly Gap[];
  /** Null: there was no survivor to take it from. */
  readonly disk: DiskVerdict | null;
  readonly logBytesPerS: number;
  /** Lag of the backup, 100 ms before the fault. */
  readonly lagMs: number | null;
  /** Anything else that went wrong. */
  readonly problems: readonly string[];
}

export function conclude(f: Findings): DemoResult {
  const { aftermath, client, disk } = f;
  const { faultAtMs, survivor } = aftermath;
  const longest = (gaps: readonly Gap[]): number => round(Math.max(0, ...gaps.map(({ ms }) => ms)));
  const after = f.gaps.filter(({ from_ms, ms }) => from_ms + ms >= faultAtMs);
  const before = f.gaps.filter(({ from_ms, ms }) => from_ms + ms < faultAtMs);
  const problems = [...f.problems];
  if (survivor === null) problems.push('no side went on');
  if (client.unanswered > 0) problems.push(`${client.unanswered} requests were never answered`);
  if (client.corrupted > 0) problems.push(`${client.corrupted} answers were wrong`);
  if (client.broken > 0) problems.push("the client's connection broke");
  if (disk !== null && disk.problem !== '') problems.push(disk.problem);
  return {
    survived: survivor !== null && client.broken === 0 && f.problems.length === 0,
    requests: client.answered,
    lost: client.unanswered + (disk?.missing ?? client.acknowledged),
    corrupted: client.corrupted,
    reconnects: client.broken,
    stall_ms: longest(after),
    detect_ms: aftermath.detectMs,
    golive_ms: aftermath.goliveMs,
    drain_ms: aftermath.drainMs,
    log_bytes_per_s: Math.round(f.logBytesPerS),
    disk_ok: disk?.clean === true && disk.problem === '',
    duplicated: client.duplicated,
    stall_before_ms: longest(before),
    lag_before_ms: f.lagMs === null ? null : round(f.lagMs),
    latency_ms: client.latency_ms,
    protocol: f.protocol,
    ...f.cuts,
    fault: f.fault,
    survivor,
    seed: f.seed,
    fault_after_ms: f.faultAfterMs,
    problem: problems.join('; '),
  };
}

/** Whether nothing at all was lost. */
export function isFlawless(result: DemoResult): boolean {
  const { survived, lost, corrupted, reconnects, disk_ok } = result;
  return survived && lost === 0 && corrupted === 0 && reconnects === 0 && disk_ok;
}

export function summaryText(result: DemoResult): string {
  const ms = (value: number | null): string => (value === null ? '-' : formatDuration(value));
  const isShort = result.stall_ms < GAP_MS_MIN;
  const stall = isShort ? `below ${GAP_MS_MIN} ms` : ms(result.stall_ms);
  const rows: [string, string][] = [
    ['protocol', protocolText(result)],
    ['requests answered', `${formatCount(result.requests)}, every byte checked`],
    ['lost', count(result.lost)],
    ['corrupted', count(result.corrupted)],
    ['duplicated', String(result.duplicated)],
    ['reconnects', count(result.reconnects)],
    ['stall seen by the client', colourStderr.bold(stall)],
    ['  from the fault until detected', ms(result.detect_ms)],
    [
      '  from the fault until live',
      `${ms(result.golive_ms)}${result.drain_ms === null ? '' : ` (drain ${ms(result.drain_ms)})`}`,
    ],
    ['latency', `p50 ${ms(result.latency_ms.p50)}, p99 ${ms(result.latency_ms.p99)}`],
    ['log', formatBitRate(result.log_bytes_per_s, 1)],
    [
      "survivor's disk",
      result.disk_ok ? 'sound; holds every acknowledged request' : colourStderr.red('NOT OK'),
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `  ${colourStderr.dim(name.padEnd(width))}  ${value}`);
  const verdict = isFlawless(result)
    ? colourStderr.green.bold(
        'The VM outlived its host. Its client noticed a pause, and nothing else.',
      )
    : colourStderr.red.bold(`It did not go as it must: ${result.problem}`);
  return ['', ...lines, '', verdict].join('\n');
}

function protocolText({ protocol, cuts, cut_pause_ms, lag_before_ms }: DemoResult): string {
  const ms = (value: number | null): string => (value === null ? '-' : formatDuration(value));
  if (cuts === null) return `${protocol}: the backup executed the log, ${ms(lag_before_ms)} behind`;
  return `${protocol}: ${formatCount(cuts)} epochs shipped, a pause of ${ms(cut_pause_ms)} for each`;
}

function count(value: number): string {
  return value === 0 ? '0' : colourStderr.red(String(value));
}
