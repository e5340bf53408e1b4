// SPDX-License-Identifier: Apache-2.0
/** The primary daemon: the state machine of replica/primary.ts on real ports. */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { protocolByName } from '../epochs/registry.ts';
import type { Outcome } from '../replica/phase.ts';
import { Primary } from '../replica/primary.ts';
import { qemuArgs, rtcBaseNow } from '../vm/qemu-args.ts';
import { Connection } from '../wire/connection.ts';
import { hostClock, launchVm } from './adapters.ts';
import { checkpointDirs, type DaemonOptions, openLog, prepare, serve } from './daemon.ts';
import { ClockWatch } from './guest-clock.ts';
import { listen } from './listen.ts';
import { Rate } from './metrics.ts';
import type { SignalSource } from './signal-source.ts';
import { primaryStatus } from './status.ts';

const SAMPLE_MS = 500;
/** A backup with history copies its disks before it is ready. */
const COPIED_TIMEOUT_MS = 30 * 60_000;

export async function runPrimary(options: DaemonOptions, signals: SignalSource): Promise<Outcome> {
  const ground = await prepare('primary', options, signals);
  let server: Server | null = null;
  try {
    const { config, replication, qemu, logger } = ground;
    const vmId = randomBytes(16);
    const rtcBase = rtcBaseNow();
    let primary: Primary | null = null;
    server = createServer({ noDelay: true }, (socket) => {
      // One that comes before we are ready tries again.
      if (primary === null) socket.destroy();
      else primary.meet((events) => new Connection(socket, events));
    });
    const address = await listen(server, replication.primary, 'replication.primary', config.file);
    const log = openLog(ground, vmId, 1);
    const history =
      (await ground.history?.begin({
        vmId: vmId.toString('hex'),
        term: 1,
        rtcBase,
        as: 'primary',
        from: null,
      })) ?? null;
    const machine = new Primary({
      clock: hostClock,
      report: ground.report,
      arbiter: ground.arbiter,
      claimant: ground.claimant,
      facts: ground.facts,
      terms: {
        ...replication,
        protocolName: replication.protocol,
        vmId,
        rtcBase,
        vmConfig: JSON.stringify({ ...config, file: undefined, replication: undefined }),
        qemuArgs: qemuArgs(config, {
          mode: 'record',
          rtcBase,
          firmwareDir: qemu.firmwareDir,
          net: 'none',
        }),
      },
      ...(history === null ? {} : { readyTimeoutMs: COPIED_TIMEOUT_MS }),
      protocol: protocolByName(replication.protocol, replication),
      launch: () =>
        launchVm({
          ...ground,
          config,
          mode: 'record',
          rtcBase,
          checkpoints: checkpointDirs(ground).own,
          history,
          checkpointFailed: (reason) => ground.history?.failed(reason),
        }),
      log,
      console: (bytes) => ground.console.write(bytes),
    });
    signals.listen((count) => {
      if (count === 1) machine.stop({ powerdown: false });
      else machine.abort('killed by the operator');
    });
    await machine.start(address);
    primary = machine;
    const rate = new Rate();
    const clocks = new ClockWatch(ground.report);
    const sampler = setInterval(() => {
      rate.sample(hostClock.nowMs(), machine.facts().shipping?.bytes ?? 0);
      clocks.look(primaryStatus(machine, daemonFacts(), rate));
    }, SAMPLE_MS);
    const daemonFacts = () => ({
      name: config.name,
      vmId: vmId.toString('hex'),
      address,
      arbiter: ground.arbiter.name,
      durability: replication.durability,
      protocol: replication.protocol,
      stateDir: ground.stateDir.path,
      startedAt: ground.startedAt,
      consoleError: ground.console.error,
      history: ground.history,
    });
    try {
      return await serve(ground, {
        done: machine.done,
        handlers: {
          status: () => primaryStatus(machine, daemonFacts(), rate),
          stop: (how) => machine.stop(how),
          promote: () => machine.promote(),
          consoleInput: (bytes) => machine.typeConsole(bytes),
          consoleAttach: (listener) => ground.console.listen(listener),
        },
      });
    } finally {
      clearInterval(sampler);
      logger.flush();
    }
  } finally {
    server?.close();
    ground.release();
  }
}
