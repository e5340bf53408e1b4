// SPDX-License-Identifier: Apache-2.0
/** `understudy backup VM.toml` */
import type { Command } from 'commander';
import { runBackup } from '../daemon/run.ts';
import { loadConfig } from '../vm/config.ts';
import { parseSeconds } from './arguments.ts';
import { type DaemonFlags, runDaemonCommand } from './daemon-command.ts';

interface BackupFlags extends DaemonFlags {
  /** Seconds. */
  readonly wait: number;
}

export function register(program: Command): void {
  program
    .command('backup')
    .description('stand by for a VM: replay it, and go live when the side that has it dies')
    .argument('<VM.toml>', 'the same VM, on its own copies of the disks')
    .option('--wait <SECONDS>', 'how long to look for the primary; 0: for ever', parseSeconds, 300)
    .option('--console', "print the guest's console on stdout")
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout at the end')
    .addHelpText(
      'after',
      '\nLooks for the VM at replication.primary and replication.backup. At power-on both sides\n' +
        'need the same disk image; a VM that runs already sends what this one lacks, and this\n' +
        'image is overwritten. Ctrl-C leaves the other side, which then goes on alone; a backup\n' +
        'that is live by then ends its VM.',
    )
    .action(async (file: string, flags: BackupFlags) => {
      const config = loadConfig(file);
      const joinDeadlineMs = flags.wait === 0 ? null : flags.wait * 1000;
      await runDaemonCommand('backup', config.name, flags, (say, signals) =>
        runBackup({ config, say, showConsole: flags.console === true, joinDeadlineMs }, signals),
      );
    });
}
