// SPDX-License-Identifier: Apache-2.0
/** The backup daemon: the state machine of replay/backup.ts on real ports. */
import { protocolByName } from '../epochs/policy.ts';
import { Backup } from '../replay/backup.ts';
import { connectTo, hostClock, launchVm } from './adapters.ts';
import { type DaemonOptions, openLog, prepare, serve } from './daemon.ts';
import { Rate } from './metrics.ts';
import type { Outcome } from './phase.ts';
import type { SignalSource } from './signal-source.ts';
import { backupStatus } from './status.ts';

export interface BackupDaemonOptions extends DaemonOptions {
  /** How long to look for a primary; null: for ever. */
  readonly joinDeadlineMs: number | null;
}

const SAMPLE_MS = 500;

export async function runBackup(
  options: BackupDaemonOptions,
  signals: SignalSource,
): Promise<Outcome> {
  const ground = await prepare('backup', options, signals);
  try {
    const { config, replication, logger } = ground;
    const where = `${replication.primary.host}:${replication.primary.port}`;
    const backup = new Backup({
      clock: hostClock,
      report: ground.report,
      arbiter: ground.arbiter,
      claimant: ground.claimant,
      facts: ground.facts,
      connect: connectTo(replication.primary),
      where,
      joinDeadlineMs: options.joinDeadlineMs,
      sealPolicy: protocolByName(replication.protocol, replication).seal,
      launch: (welcome) =>
        launchVm({ ...ground, config, mode: 'replay', rtcBase: welcome.rtcBase }),
      openLog: (welcome) => openLog(ground, welcome.vmId, welcome.term),
      openLiveLog: (welcome, term) => openLog(ground, welcome.vmId, term),
      console: (bytes) => ground.console.write(bytes),
    });
    signals.listen((count) => {
      if (count === 1) backup.stop({ powerdown: false });
      else backup.abort('killed by the operator');
    });
    const rate = new Rate();
    const sampler = setInterval(() => {
      const { received, shipped } = backup.facts();
      const bytes = (received?.bytes ?? 0) + (shipped?.bytes ?? 0);
      rate.sample(hostClock.nowMs(), bytes);
    }, SAMPLE_MS);
    const daemonFacts = () => ({
      name: config.name,
      vmId: null,
      address: where,
      arbiter: ground.arbiter.name,
      durability: replication.durability,
      protocol: replication.protocol,
      stateDir: ground.stateDir.path,
      startedAt: ground.startedAt,
      consoleError: ground.console.error,
    });
    backup.start();
    try {
      return await serve(ground, {
        done: backup.done,
        handlers: {
          status: () => backupStatus(backup, daemonFacts(), rate),
          stop: (how) => backup.stop(how),
          promote: () => backup.promote(),
          consoleInput: (bytes) => backup.typeConsole(bytes),
          consoleAttach: (listener) => ground.console.listen(listener),
        },
      });
    } finally {
      clearInterval(sampler);
      logger.flush();
    }
  } finally {
    ground.release();
  }
}
