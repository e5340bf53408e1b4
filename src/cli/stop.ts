// SPDX-License-Identifier: Apache-2.0
/** `understudy stop NAME` */
import type { Command } from 'commander';
import { UnderstudyError } from '../base/errors.ts';
import { ask, command, type DaemonRef, runningDaemons } from '../daemon/client.ts';
import { parseSeconds } from './arguments.ts';
import { printJson, say } from './output.ts';

interface StopFlags {
  readonly powerdown?: true;
  readonly role?: string;
  /** Seconds. */
  readonly wait: number;
  readonly json?: true;
  readonly stateDir?: string;
}

const POLL_MS = 50;

export function register(program: Command): void {
  program
    .command('stop')
    .description('end a VM on both sides, or only its backup with --role backup')
    .argument('<NAME>', 'the VM')
    .option('--powerdown', 'press the power button: the guest shuts itself down')
    .option('--role <ROLE>', 'primary or backup (default: primary where it runs)')
    .option('--wait <SECONDS>', 'how long to wait for its end', parseSeconds, 30)
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout')
    .action(async (name: string, flags: StopFlags) => {
      if (flags.stateDir !== undefined) process.env.UNDERSTUDY_STATE_DIR = flags.stateDir;
      const running = (await runningDaemons(name)).map(({ daemon }) => daemon);
      const target = running.find((daemon) => daemon.role === (flags.role ?? 'primary'));
      const daemon = target ?? (flags.role === undefined ? running[0] : undefined);
      if (daemon === undefined) {
        throw new UnderstudyError(
          'not-running',
          `no ${flags.role ?? 'daemon'} of "${name}" runs on this host`,
        );
      }
      await command(daemon, { cmd: 'stop', powerdown: flags.powerdown === true });
      const ended = await gone(daemon, flags.wait * 1000);
      if (!ended) {
        throw new UnderstudyError(
          'failure',
          `the ${daemon.role} of "${name}" has not ended within ${flags.wait} s` +
            (flags.powerdown === true ? ': the guest may ignore its power button' : ''),
        );
      }
      if (flags.json === true) printJson({ name, role: daemon.role, stopped: true });
      else say(`stopped ${daemon.role} ${name}`);
    });
}

async function gone(daemon: DaemonRef, timeoutMs: number): Promise<boolean> {
  const until = Date.now() + timeoutMs;
  while (Date.now() < until) {
    try {
      await ask(daemon, { cmd: 'status' });
    } catch {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}
