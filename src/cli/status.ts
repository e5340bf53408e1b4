// SPDX-License-Identifier: Apache-2.0
/** `understudy status [NAME]`: exit code 0 protected, 3 not running, 4 degraded. */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { EXIT } from '../base/errors.ts';
import { formatBitRate, formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { runningDaemons } from '../daemon/client.ts';
import type { DaemonStatus } from '../daemon/facts.ts';
import { guestClockWords, skewWords } from '../daemon/guest-clock.ts';
import { printFacts, printJson, say } from './output.ts';

export function register(program: Command): void {
  program
    .command('status')
    .description('how the daemons on this host are (exit 0 protected, 3 not running, 4 degraded)')
    .argument('[NAME]', 'only this VM')
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout')
    .action(async (name: string | undefined, flags: { json?: true; stateDir?: string }) => {
      if (flags.stateDir !== undefined) process.env.UNDERSTUDY_STATE_DIR = flags.stateDir;
      const daemons = (await runningDaemons(name)).map(({ status }) => status);
      process.exitCode = exitCodeFor(daemons);
      if (flags.json === true) {
        printJson({ protected: process.exitCode === EXIT.ok, daemons });
        return;
      }
      if (daemons.length === 0) say(name === undefined ? 'nothing runs' : `"${name}" does not run`);
      for (const daemon of daemons) print(daemon);
    });
}

function exitCodeFor(daemons: readonly DaemonStatus[]): number {
  if (daemons.length === 0) return EXIT.notRunning;
  const isWell = (daemon: DaemonStatus): boolean =>
    (daemon.state === 'protected' || daemon.state === 'standby') && !daemon.disk_waits;
  return daemons.every(isWell) ? EXIT.ok : EXIT.degraded;
}

function print(d: DaemonStatus): void {
  const well = (d.state === 'protected' || d.state === 'standby') && !d.disk_waits;
  const word = d.syncing_percent === null ? d.state : `${d.state} ${d.syncing_percent} %`;
  const state = well ? colour.green(word) : colour.yellow(word);
  process.stdout.write(`${colour.bold(d.name)} ${d.role}: ${state}: ${d.reason}\n`);
  const facts: [string, string][] = [
    ['process', `${d.pid}${d.qemu_pid === null ? '' : `, QEMU ${d.qemu_pid}`}`],
    ['term', String(d.term)],
  ];
  if (d.peer !== null) {
    const age =
      d.heartbeat_age_ms === null ? '' : `, heard ${formatDuration(d.heartbeat_age_ms)} ago`;
    facts.push(['peer', `${d.peer}${age}`]);
  }
  if (d.position !== null) {
    facts.push(['position', `${formatCount(d.position.icount)} instructions`]);
  }
  if (d.lag_instructions !== null) {
    const ms = d.lag_ms === null ? '' : `, ${formatDuration(d.lag_ms)}`;
    const slowed = d.throttled ? ` ${colour.yellow('(the primary is slowed)')}` : '';
    facts.push(['backup behind', `${formatCount(d.lag_instructions)} instructions${ms}${slowed}`]);
  }
  facts.push([
    'log',
    `${formatBytes(d.log_bytes_total)}, ${formatBitRate(d.log_bytes_per_s, 1)}, ` +
      `durability ${d.durability}`,
  ]);
  if (d.outputs !== null && d.outputs_released !== null) {
    const left = `${formatCount(d.outputs_released)} of ${formatCount(d.outputs)} packets left`;
    facts.push(['outputs', d.outputs_stopped === null ? left : `${left}; ${d.outputs_stopped}`]);
  }
  if (d.failover !== null) {
    const step = (ms: number | null): string => (ms === null ? 'not yet' : formatDuration(ms));
    facts.push([
      'failover',
      `detect ${step(d.failover.detect_ms)}, fence ${step(d.failover.fence_ms)}, ` +
        `drain ${step(d.failover.drain_ms)}, go live ${step(d.failover.golive_ms)}`,
    ]);
  }
  const clocks: [string, string | null][] = [
    ["hosts' clocks", skewWords(d.clock_skew_ms)],
    ['guest clock', guestClockWords(d.guest_clock_behind_ms)],
  ];
  for (const [name, words] of clocks) {
    if (words !== null) facts.push([name, colour.yellow(words)]);
  }
  if (d.history_error !== null) facts.push(['history', `given up: ${d.history_error}`]);
  if (d.disk_error !== null) {
    facts.push(['disk error', d.disk_waits ? `${d.disk_error} (the guest waits)` : d.disk_error]);
  }
  if (d.segment_error !== null) facts.push(['log error', d.segment_error]);
  if (d.last_refused !== null) facts.push(['last refused', d.last_refused]);
  printFacts(facts);
}
