// SPDX-License-Identifier: Apache-2.0
/** A daemon: the replica of one VM (replica/replica.ts) on real ports, until it ends. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Link } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/errors.ts';
import { protocolByName } from '../epochs/registry.ts';
import type { Outcome } from '../replica/outcome.ts';
import type { ReplicaOptions } from '../replica/posture.ts';
import * as replicas from '../replica/replica.ts';
import { accelByName } from '../vm/accel/registry.ts';
import { qemuArgs, rtcBaseNow } from '../vm/qemu-args.ts';
import { SIDES } from '../vm/sides.ts';
import { Connection } from '../wire/connection.ts';
import { connectTo, hostClock, type LaunchOptions, launchVm } from './adapters.ts';
import { ArbiterWatch } from './arbiter-watch.ts';
import { ClockWatch } from './clock-watch.ts';
import { type DaemonFacts, statusOf } from './facts.ts';
import { currentFacts, type DaemonOptions, type Ground, prepare } from './ground.ts';
import { GuardWatch } from './guard-watch.ts';
import type { HistoryVm } from './history.ts';
import { listen, SurvivorListener } from './listen.ts';
import { openLog } from './logs.ts';
import { Rate } from './rate.ts';
import type { SignalSource } from './signal-source.ts';
import { FileStateSink } from './state-sink.ts';
import { StatusSocket } from './status-socket.ts';

export interface BackupDaemonOptions extends DaemonOptions {
  /** How long to look for a primary; null: for ever. */
  readonly joinDeadlineMs: number | null;
}

/** A replica with what it stands on. */
interface Daemon {
  readonly replica: replicas.Replica;
  /** Who watches the services in the guest; null: nobody. */
  readonly guard: GuardWatch | null;
  /** Where the side that leads listens, or is looked for. */
  readonly address: () => string;
  /** It has started. */
  readonly started: () => void;
  readonly close: () => void;
}

const SAMPLE_MS = 500;
/** A backup with history copies its disks before it is ready. */
const COPIED_TIMEOUT_MS = 30 * 60_000;

export async function runPrimary(options: DaemonOptions, signals: SignalSource): Promise<Outcome> {
  const ground = await prepare('primary', options, signals);
  try {
    return await run(ground, await primaryOn(ground), signals);
  } finally {
    ground.release();
  }
}

export async function runBackup(
  options: BackupDaemonOptions,
  signals: SignalSource,
): Promise<Outcome> {
  const ground = await prepare('backup', options, signals);
  try {
    return await run(ground, backupOn(ground, options.joinDeadlineMs), signals);
  } finally {
    ground.release();
  }
}

/** Serves until the replica is done; then nothing of it is left. */
async function run(ground: Ground, daemon: Daemon, signals: SignalSource): Promise<Outcome> {
  const { logger, report } = ground;
  const { replica } = daemon;
  let sampler: NodeJS.Timeout | undefined;
  let socket: StatusSocket | null = null;
  let watch: ArbiterWatch | null = null;
  try {
    daemon.guard?.watch(replica);
    signals.listen((count) => {
      if (count === 1) replica.stop({ powerdown: false });
      else replica.abort('killed by the operator');
    });
    await replica.start();
    daemon.started();
    const rate = new Rate();
    const clocks = new ClockWatch(report);
    watch = new ArbiterWatch({
      arbiter: ground.arbiter,
      clock: hostClock,
      report,
      instance: ground.claimant.instance,
      facts: () => replica.facts(),
      fenced: (reason) => replica.abort(reason, 'fenced'),
    });
    const seen = watch;
    const status = () =>
      statusOf({
        replica,
        daemon: factsOf(ground, daemon, seen),
        rate,
        nowMs: hostClock.nowMs(),
      });
    sampler = setInterval(() => {
      rate.sample(hostClock.nowMs(), replica.facts().logBytes);
      clocks.look(status());
    }, SAMPLE_MS);
    socket = await StatusSocket.listen(ground.stateDir.socket, {
      status,
      stop: (how) => replica.stop(how),
      promote: () => replica.promote(),
      consoleInput: (bytes) => replica.typeConsole(bytes),
      consoleAttach: (listener) => ground.console.listen(listener),
    });
    const outcome = await replica.done;
    logger.info({ outcome: { ...outcome, error: undefined } }, 'done');
    return outcome;
  } catch (error) {
    logger.error({ err: error }, messageOf(error));
    throw error;
  } finally {
    socket?.close();
    clearInterval(sampler);
    daemon.guard?.close();
    watch?.close();
    daemon.close();
    await ground.generation.settle();
    logger.flush();
  }
}

function factsOf(ground: Ground, { address, guard }: Daemon, watch: ArbiterWatch): DaemonFacts {
  const { config, replication, stateDir } = ground;
  return {
    name: config.name,
    role: ground.role,
    address: address(),
    arbiter: ground.arbiter.name,
    arbiterProblem: watch.problem,
    arbiterAnswerMs: watch.answerMs,
    durability: replication.durability,
    protocol: replication.protocol,
    accel: accelByName(config.accel),
    cuts: protocolByName(replication.protocol, replication).cut !== null,
    stateDir: stateDir.path,
    startedAt: ground.startedAt,
    certificateEndsMs: ground.trust?.endsMs ?? null,
    consoleError: ground.console.error,
    history: ground.history,
    guard: guard?.facts() ?? null,
  };
}

async function primaryOn(ground: Ground): Promise<Daemon> {
  const { config, replication } = ground;
  const vmId = randomBytes(16);
  const rtcBase = rtcBaseNow();
  let replica: replicas.Replica | null = null;
  let isStarted = false;
  const { primary } = replication;
  const guard = GuardWatch.of(config, ground.report);
  const accepted = (link: Link): void => {
    // One that comes before we are ready tries again.
    if (replica === null || !isStarted) link.drop();
    else replica.meet((events) => new Connection(link, events));
  };
  const listener = await listen(
    primary,
    'replication.primary',
    config.file,
    accepted,
    () => ground.trust?.towards('backup') ?? null,
  );
  try {
    const where = `${primary.host}:${listener.port}`;
    const log = openLog(ground, vmId, 1);
    const vm = { vmId: vmId.toString('hex'), term: 1, rtcBase, from: null } as const;
    const launch = await launchOn(ground, { ...vm, as: 'primary' });
    replica = replicas.primary({
      ...commonOf(ground, guard),
      facts: ground.facts,
      terms: {
        ...replication,
        protocolName: replication.protocol,
        vmId,
        rtcBase,
        vmConfig: JSON.stringify({
          ...config,
          file: undefined,
          replication: undefined,
          guard: undefined,
        }),
        qemuArgs: qemuArgs(config, {
          mode: 'record',
          rtcBase,
          firmwareDir: ground.qemu.firmwareDir,
          net: 'none',
        }),
      },
      where,
      ...(launch.history === null ? {} : { readyTimeoutMs: COPIED_TIMEOUT_MS }),
      launch: () => launchVm(launch),
      log,
    });
    return {
      replica,
      guard,
      address: () => where,
      started: () => {
        isStarted = true;
      },
      close: () => listener.close(),
    };
  } catch (error) {
    listener.close();
    throw error;
  }
}

function backupOn(ground: Ground, joinDeadlineMs: number | null): Daemon {
  const { config, replication } = ground;
  // The VM is at the primary's, or with a survivor that took over from it.
  const places = SIDES.flatMap((side) => {
    const address = replication[side];
    return address === null ? [] : [{ side, address }];
  });
  const where = places.map(({ address: { host, port } }) => `${host}:${port}`).join(' or ');
  let attempts = 0;
  let joins = 0;
  const guard = GuardWatch.of(config, ground.report);
  const listener = new SurvivorListener(replication, config.file, ground.trust, (reason) =>
    ground.report('not-listening', { reason }),
  );
  const replica = replicas.backup({
    ...commonOf(ground, guard),
    facts: () => (joins === 0 ? Promise.resolve(ground.facts) : currentFacts(ground)),
    connect: (events) => {
      const place = places[attempts % places.length];
      assert(place !== undefined, 'there is an address');
      attempts += 1;
      return connectTo(place.address, ground.trust?.towards(place.side) ?? null)(events);
    },
    where,
    joinDeadlineMs,
    sink: () => {
      joins += 1;
      const images = config.disks.map(({ image }) => image);
      const { follower } = protocolByName(replication.protocol, replication);
      return new FileStateSink(join(ground.stateDir.path, 'joined'), images, follower);
    },
    launch: async ({ vmId, term, rtcBase }, from) => {
      const vm = { vmId: vmId.toString('hex'), term, rtcBase, from };
      return launchVm(await launchOn(ground, { ...vm, as: 'backup' }));
    },
    openLog: ({ vmId, term }, first) => openLog(ground, vmId, term, first),
    terms: ({ vmId, rtcBase, vmConfig, qemuArgs }) => ({
      ...replication,
      protocolName: replication.protocol,
      vmId,
      rtcBase,
      vmConfig,
      qemuArgs,
    }),
    listen: () => listener.listen((connect) => replica.meet(connect)),
  });
  return {
    replica,
    guard,
    address: () => listener.where ?? where,
    started: () => {},
    close: () => listener.close(),
  };
}

function commonOf(ground: Ground, guard: GuardWatch | null): ReplicaOptions {
  const { report, arbiter, claimant, generation, console, replication } = ground;
  return {
    clock: hostClock,
    report,
    arbiter,
    claimant,
    generation,
    unprotected: replication.unprotected,
    protocol: protocolByName(replication.protocol, replication),
    console: (bytes) => console.write(bytes),
    guard: (bytes) => guard?.heard(bytes),
  };
}

/** How a VM is launched, once its past has begun. */
async function launchOn(ground: Ground, vm: HistoryVm): Promise<LaunchOptions> {
  return {
    ...ground,
    mode: vm.as === 'primary' ? 'record' : 'replay',
    rtcBase: vm.rtcBase,
    protocol: protocolByName(ground.replication.protocol, ground.replication),
    checkpoints: join(ground.stateDir.path, 'checkpoints'),
    spool: ground.stateDir.path,
    from: vm.from,
    history: (await ground.history?.begin(vm)) ?? null,
    checkpointFailed: (reason) => ground.history?.failed(reason),
  };
}
