// SPDX-License-Identifier: Apache-2.0
/** `understudy replica VM.toml` */
import type { Command } from 'commander';
import { runReplica } from '../daemon/replica.ts';
import { type Address, loadConfig } from '../vm/config.ts';
import { parseAddress } from './arguments.ts';
import { type DaemonFlags, runDaemonCommand } from './daemon-command.ts';

interface ReplicaFlags extends DaemonFlags {
  readonly address?: Address;
}

export function register(program: Command): void {
  program
    .command('replica')
    .description('run one of the replicas of a VM, which agree on all that it does')
    .argument('<VM.toml>', 'the VM, with protocol = "quorum" and replicas = [...]')
    .option(
      '--address <HOST:PORT>',
      'which of the replicas this one is (default: the one with an address of this host)',
      parseAddress,
    )
    .option('--console', "print the guest's console on stdout")
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout at the end')
    .addHelpText(
      'after',
      '\nStart it on each of the replicas, with equal disk images: once a majority is there one is\n' +
        'elected, and powers the VM on. Ctrl-C at the one that leads ends the VM for all; at another\n' +
        'one it leaves. One that is started again, after its VM has run, stores and votes only.',
    )
    .action(async (file: string, flags: ReplicaFlags) => {
      const config = loadConfig(file);
      const { address = null } = flags;
      await runDaemonCommand('replica', config.name, flags, (say, signals) =>
        runReplica({ config, say, showConsole: flags.console === true, address }, signals),
      );
    });
}
