// SPDX-License-Identifier: Apache-2.0
/** The demo with what its command has no option for, in a program of its own: a process for each run of a campaign. */
import { join } from 'node:path';
import type * as Demo from '../../src/demo/demo.ts';
import type { Fault } from '../../src/demo/fault.ts';
import type { DemoResult } from '../../src/demo/summary.ts';

/** What such a program is given, as JSON. */
export interface PlayOptions {
  readonly fault: Fault;
  readonly seed: number;
  readonly secondsBefore: number;
  readonly secondsAfter: number;
  readonly keep: string;
}

/** Plays it once under the command's own load, and tells it on stderr. */
export async function playBuilt(
  options: PlayOptions & Partial<Demo.DemoOptions>,
): Promise<DemoResult> {
  // As built: its client is a program that a plain Node runs.
  const built = join(import.meta.dirname, '../../dist/src/demo/demo.js');
  const { runDemo } = (await import(built)) as typeof Demo;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupted.abort());
  }
  return await runDemo(
    {
      protocol: 'lockstep',
      faultAfterMs: null,
      ratePerS: 300,
      window: 8,
      say: (text) => console.error(text),
      ...options,
    },
    interrupted.signal,
  );
}
