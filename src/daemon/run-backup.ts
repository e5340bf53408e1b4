// SPDX-License-Identifier: Apache-2.0
/** The backup daemon: the state machine of replica/backup.ts on real ports. */
import { protocolByName } from '../epochs/registry.ts';
import { Backup } from '../replica/backup.ts';
import type { Outcome } from '../replica/phase.ts';
import { connectTo, hostClock, launchVm } from './adapters.ts';
import {
  checkpointDirs,
  currentFacts,
  type DaemonOptions,
  openLog,
  prepare,
  serve,
} from './daemon.ts';
import { ClockWatch } from './guest-clock.ts';
import { SurvivorListener } from './listen.ts';
import { Rate } from './metrics.ts';
import type { SignalSource } from './signal-source.ts';
import { FileStateSink } from './state-sink.ts';
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
    // The VM is at the primary's, or with a survivor that took over from it.
    const addresses = [replication.primary, replication.backup].filter((it) => it !== null);
    const where = addresses.map(({ host, port }) => `${host}:${port}`).join(' or ');
    let attempts = 0;
    const listener = new SurvivorListener(replication, config.file, (reason) =>
      ground.report('not-listening', { reason }),
    );
    const dirs = checkpointDirs(ground);
    let joins = 0;
    const backup = new Backup({
      clock: hostClock,
      report: ground.report,
      arbiter: ground.arbiter,
      claimant: ground.claimant,
      facts: () => (joins === 0 ? Promise.resolve(ground.facts) : currentFacts(ground)),
      connect: (events) => {
        const address = addresses[attempts % addresses.length] ?? replication.primary;
        attempts += 1;
        return connectTo(address)(events);
      },
      where,
      joinDeadlineMs: options.joinDeadlineMs,
      sink: () => {
        joins += 1;
        return new FileStateSink(
          dirs.joined,
          config.disks.map(({ image }) => image),
        );
      },
      launch: async (welcome, from) => {
        const { rtcBase, term } = welcome;
        const vmId = welcome.vmId.toString('hex');
        const history = await ground.history?.begin({ vmId, term, rtcBase, as: 'backup', from });
        return launchVm({
          ...ground,
          config,
          mode: 'replay',
          rtcBase,
          checkpoints: dirs.own,
          from,
          history: history ?? null,
          checkpointFailed: (reason) => ground.history?.failed(reason),
        });
      },
      openLog: (welcome, first) => openLog(ground, welcome.vmId, welcome.term, first),
      openLiveLog: (welcome, term) => {
        ground.history?.wentLive();
        return openLog(ground, welcome.vmId, term);
      },
      terms: ({ vmId, rtcBase, vmConfig, qemuArgs }) => ({
        ...replication,
        protocolName: replication.protocol,
        vmId,
        rtcBase,
        vmConfig,
        qemuArgs,
      }),
      protocol: protocolByName(replication.protocol, replication),
      listen: (meet) => listener.listen(meet),
      console: (bytes) => ground.console.write(bytes),
    });
    signals.listen((count) => {
      if (count === 1) backup.stop({ powerdown: false });
      else backup.abort('killed by the operator');
    });
    const rate = new Rate();
    const clocks = new ClockWatch(ground.report);
    const sampler = setInterval(() => {
      clocks.look(backupStatus(backup, daemonFacts(), rate));
      const { received, lead } = backup.facts();
      const bytes = (received?.bytes ?? 0) + (lead?.shipping.bytes ?? 0);
      rate.sample(hostClock.nowMs(), bytes);
    }, SAMPLE_MS);
    const daemonFacts = () => ({
      name: config.name,
      vmId: null,
      address: listener.where ?? where,
      arbiter: ground.arbiter.name,
      durability: replication.durability,
      protocol: replication.protocol,
      stateDir: ground.stateDir.path,
      startedAt: ground.startedAt,
      consoleError: ground.console.error,
      history: ground.history,
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
      listener.close();
      clearInterval(sampler);
      logger.flush();
    }
  } finally {
    ground.release();
  }
}
