// SPDX-License-Identifier: Apache-2.0
/** `understudy status [NAME]`: exit code 0 protected, 3 not running, 4 degraded. */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { EXIT } from '../base/errors.ts';
import { runningDaemons } from '../daemon/client.ts';
import type { DaemonStatus } from '../daemon/facts.ts';
import { linesOf } from '../daemon/facts-words.ts';
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
  return daemons.every(isWell) ? EXIT.ok : EXIT.degraded;
}

/** Nothing is lost if this host dies, or the other one, and the VM goes on. */
function isWell(d: DaemonStatus): boolean {
  const isPaired = d.state === 'protected' || d.state === 'standby';
  return isPaired && !d.disk_waits && d.arbiter_problem === null;
}

function print(d: DaemonStatus): void {
  const well = isWell(d);
  const word = d.syncing_percent === null ? d.state : `${d.state} ${d.syncing_percent} %`;
  const state = well ? colour.green(word) : colour.yellow(word);
  process.stdout.write(`${colour.bold(d.name)} ${d.role}: ${state}: ${d.reason}\n`);
  printFacts(linesOf(d));
}
