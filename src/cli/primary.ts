// SPDX-License-Identifier: Apache-2.0
/** `understudy primary VM.toml` */
import type { Command } from 'commander';
import { runPrimary } from '../daemon/run.ts';
import { loadConfig } from '../vm/config.ts';
import { type DaemonFlags, runDaemonCommand } from './daemon-command.ts';

export function register(program: Command): void {
  program
    .command('primary')
    .description('run a VM protected: listen for its backup, then power it on')
    .argument('<VM.toml>', 'the VM, with a [replication] table')
    .option('--console', "print the guest's console on stdout")
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout at the end')
    .addHelpText(
      'after',
      '\nCtrl-C ends the VM on both sides at an exact position; a second one kills it here.',
    )
    .action(async (file: string, flags: DaemonFlags) => {
      const config = loadConfig(file);
      await runDaemonCommand('primary', config.name, flags, (say, signals) =>
        runPrimary({ config, say, showConsole: flags.console === true }, signals),
      );
    });
}
