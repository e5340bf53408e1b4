// SPDX-License-Identifier: Apache-2.0
/**
 * CPU time that targets have had, in a file that is committed: hours add up over sessions. Time
 * with other sources of a target, whatever it includes or imports, is `earlier`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '#scripts/paths.mjs';
import type { FuzzResult } from './run.ts';

export interface Had {
  /** Which sources it has (sources.ts); with them: CPU seconds, inputs. */
  readonly sources: string;
  readonly cpuSeconds: number;
  readonly inputs: number;
  /** At the end of its last run, and for how many CPU seconds there was no new one. */
  readonly features: number;
  readonly quietCpuSeconds: number;
  /** With other sources. */
  readonly earlierCpuSeconds: number;
  /** Whatever the sources. */
  readonly found: number;
}

export type Ledger = Readonly<Record<string, Had>>;

export const LEDGER = join(projectRoot, 'test/fuzz/ledger.json');

export function withResult(ledger: Ledger, result: FuzzResult, sources: string): Ledger {
  const before = ledger[result.target];
  const same = before?.sources === sources ? before : null;
  const hasGrown = result.growth.to > result.growth.from;
  const had: Had = {
    sources,
    cpuSeconds: tenths((same?.cpuSeconds ?? 0) + result.cpuSeconds),
    inputs: (same?.inputs ?? 0) + result.runs,
    features: result.growth.to,
    quietCpuSeconds: tenths(
      (hasGrown ? 0 : (same?.quietCpuSeconds ?? 0)) + result.growth.quietCpuSeconds,
    ),
    earlierCpuSeconds: tenths(
      (before?.earlierCpuSeconds ?? 0) + (same === null ? (before?.cpuSeconds ?? 0) : 0),
    ),
    found: (before?.found ?? 0) + (result.finding === null ? 0 : 1),
  };
  return { ...ledger, [result.target]: had };
}

const tenths = (seconds: number): number => Math.round(seconds * 10) / 10;

export const readLedger = (path: string): Ledger => JSON.parse(readFileSync(path, 'utf8'));

/** A line for each target: what two sessions add is merged by lines. */
export function writeLedger(path: string, ledger: Ledger): void {
  const lines = Object.keys(ledger)
    .sort()
    .map((target) => `  ${JSON.stringify(target)}: ${JSON.stringify(ledger[target])}`);
  writeFileSync(path, `{\n${lines.join(',\n')}\n}\n`);
}
