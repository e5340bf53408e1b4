// SPDX-License-Identifier: Apache-2.0
/** `understudy promote NAME`: a planned switch-over, nothing lost. */
import type { Command } from 'commander';
import { UnderstudyError } from '../base/errors.ts';
import { formatDuration } from '../base/format.ts';
import { ask, command, type DaemonRef, runningDaemons } from '../daemon/client.ts';
import type { DaemonStatus } from '../daemon/facts.ts';
import { parseSeconds } from './arguments.ts';
import { printJson, say } from './output.ts';

const POLL_MS = 50;

export function register(program: Command): void {
  program
    .command('promote')
    .description('hand the VM over to its backup; the side that had it ends')
    .argument('<NAME>', 'the VM')
    .option('--wait <SECONDS>', 'how long to wait for it', parseSeconds, 30)
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout')
    .action(async (name: string, flags: { wait: number; json?: true; stateDir?: string }) => {
      if (flags.stateDir !== undefined) process.env.UNDERSTUDY_STATE_DIR = flags.stateDir;
      const running = await runningDaemons(name);
      // Where both sides are on this host, the one that takes over can tell more.
      const standby = running.find(({ status }) => status.state === 'standby');
      const asked = standby ?? running[0];
      if (asked === undefined) {
        throw new UnderstudyError('not-running', `"${name}" does not run on this host`);
      }
      const { daemon } = asked;
      await command(daemon, { cmd: 'promote' });
      const status = await handedOver(daemon, standby !== undefined, flags.wait * 1000);
      const ms = status?.failover?.total_ms ?? null;
      if (flags.json === true) {
        printJson({ name, asked: daemon.role, promoted: true, failover: status?.failover ?? null });
      } else {
        say(`handed over ${name}${ms === null ? '' : ` in ${formatDuration(ms)}`}`);
      }
    });
}

/** The status of who took over, once it is live; null when the other side was asked and is gone. */
async function handedOver(
  daemon: DaemonRef,
  takesOver: boolean,
  timeoutMs: number,
): Promise<DaemonStatus | null> {
  const until = Date.now() + timeoutMs;
  let reason = 'no answer';
  while (Date.now() < until) {
    let status: DaemonStatus | null = null;
    try {
      status = (await ask(daemon, { cmd: 'status' })).status as DaemonStatus;
    } catch {
      if (!takesOver) return null;
      throw new UnderstudyError('peer-lost', `the backup of "${daemon.name}" ended meanwhile`);
    }
    reason = `${status.state}: ${status.reason}`;
    if (status.state === 'needs-backup') {
      if (takesOver) return status;
      throw new UnderstudyError('peer-lost', `this side kept the VM: ${reason}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new UnderstudyError(
    'failure',
    `"${daemon.name}" was not handed over within ${timeoutMs / 1000} s: ${reason}`,
  );
}
