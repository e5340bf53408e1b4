// SPDX-License-Identifier: Apache-2.0
/** What goes on, on stderr: a bar with the time left on a terminal, a line per run anywhere. */
import { SingleBar } from 'cli-progress';
import { colourStderr } from '../../src/base/colour.ts';
import { formatDuration } from '../../src/base/format.ts';
import type { FigureFacts, Run, WorkloadFacts } from '../results.ts';
import type { Watcher } from './runner.ts';

export function stderrWatcher(workloads: readonly WorkloadFacts[]): Watcher & { close(): void } {
  const live = process.stderr.isTTY === true;
  const bar = new SingleBar({
    format: '{bar} {value}/{total} | {what} | {left} left',
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
    fps: 5,
  });
  let started = false;
  let left = '';
  const line = (text: string): void => {
    if (!live) process.stderr.write(`${text}\n`);
    else process.stderr.write(`\r\x1b[K${text}\n`);
  };
  return {
    begin(what, done, total, leftS) {
      left = formatDuration(leftS * 1000);
      if (!live) return;
      if (!started) bar.start(total, done, { what, left });
      else bar.update(done, { what, left });
      started = true;
    },
    ran(run) {
      const facts = workloads.find(({ name }) => name === run.workload);
      const text = `${run.workload} ${run.system} ${run.round + 1}: ${textOf(run, facts)}`;
      line(live ? text : `${text} (about ${left} left before it)`);
    },
    note: (text) => line(colourStderr.yellow(text)),
    close() {
      if (started) bar.stop();
    },
  };
}

function textOf(run: Run, facts: WorkloadFacts | undefined): string {
  if (run.invalid !== null) return colourStderr.red(`invalid: ${run.invalid}`);
  const values = Object.entries(run.values).map(([name, value]) => {
    const unit = facts?.figures.find((one: FigureFacts) => one.name === name)?.unit ?? '';
    return `${name} ${Number(value.toPrecision(4))} ${unit}`;
  });
  return values.length > 0 ? values.join(', ') : `${run.seconds} s`;
}
