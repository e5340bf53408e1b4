// SPDX-License-Identifier: Apache-2.0
/** `understudy primary VM.toml` */
import type { Command } from 'commander';
import { runPrimary } from '../daemon/run.ts';
import { loadConfig } from '../vm/config.ts';
import { type DaemonFlags, runDaemonCommand } from './daemon-command.ts';

interface PrimaryFlags extends DaemonFlags {
  readonly acceptOlderImage?: true;
}

export function register(program: Command): void {
  program
    .command('primary')
    .description('run a VM protected: listen for its backup, then power it on')
    .argument('<VM.toml>', 'the VM, with a [replication] table')
    .option('--console', "print the guest's console on stdout")
    .option('--accept-older-image', 'start from these images even if others are newer')
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout at the end')
    .addHelpText(
      'after',
      '\nAfter both sides were lost, the image of the side whose VM was live last is the one to\n' +
        'start from. Another one is refused (image-older), and the side with the newest is named;\n' +
        '--accept-older-image starts from it all the same, and what is newer is lost.\n' +
        'Ctrl-C ends the VM on both sides at an exact position; a second one kills it here.',
    )
    .action(async (file: string, flags: PrimaryFlags) => {
      const config = loadConfig(file);
      await runDaemonCommand('primary', config.name, flags, (say, signals) =>
        runPrimary(
          {
            config,
            say,
            showConsole: flags.console === true,
            acceptsOlder: flags.acceptOlderImage === true,
          },
          signals,
        ),
      );
    });
}
