// SPDX-License-Identifier: Apache-2.0
/** A replica's daemon: a seat (quorum/seat.ts) on real ports, until it ends. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { QuorumReplica, xxh64 } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { protocolByName, QUORUM } from '../epochs/registry.ts';
import { Mesh, type Place } from '../quorum/mesh.ts';
import { Seat } from '../quorum/seat.ts';
import type { Outcome } from '../replica/outcome.ts';
import { accelByName } from '../vm/accel/registry.ts';
import type { Address, VmConfig } from '../vm/config.ts';
import { isLoopback } from '../vm/link-trust.ts';
import { qemuArgs, rtcBaseNow } from '../vm/qemu-args.ts';
import { welcomeOf } from '../wire/hello.ts';
import { encodeWelcome } from '../wire/messages.ts';
import { hostClock, launchVm } from './adapters.ts';
import { statusOf } from './facts.ts';
import { type DaemonOptions, type Ground, prepare } from './ground.ts';
import { Rate } from './rate.ts';
import type { SignalSource } from './signal-source.ts';
import { StatusSocket } from './status-socket.ts';

export interface ReplicaDaemonOptions extends DaemonOptions {
  /** Which of `replicas` this one is; null: the one that is an address of this host. */
  readonly address: Address | null;
}

const SAMPLE_MS = 500;
const WITNESS_PATIENCE = 4;
const TERM_OF_SETTING = 1;

export async function runReplica(
  options: ReplicaDaemonOptions,
  signals: SignalSource,
): Promise<Outcome> {
  const { config } = options;
  // What is said of a pair's VM.toml is said by what takes the ground.
  const isOurs = config.replication?.protocol === QUORUM;
  const own = isOurs ? ownPlace(config, options.address) : null;
  const ground = await prepare('replica', options, signals);
  try {
    assert(own !== null, 'the ground is that of replicas');
    return await run(ground, own, signals);
  } finally {
    ground.release();
  }
}

function placesOf(config: VmConfig): Place[] {
  return (config.replication?.replicas ?? []).map(({ host, port }, i) => ({
    id: i + 1,
    host,
    port,
  }));
}

const textOf = ({ host, port }: Address): string => `${host}:${port}`;

/** @throws UnderstudyError config-value: none of them, or several, may be this one */
function ownPlace(config: VmConfig, wanted: Address | null): Place {
  const places = placesOf(config);
  const locals = new Set(
    Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
  );
  const isOwn = (place: Place): boolean =>
    wanted === null
      ? locals.has(place.host) || isLoopback(place.host)
      : textOf(place) === textOf(wanted);
  const [first, ...more] = places.filter(isOwn);
  if (first !== undefined && more.length === 0) return first;
  const list = places.map(textOf).join(', ');
  throw new UnderstudyError(
    'config-value',
    first === undefined
      ? `${config.file}: none of replication.replicas (${list}) is ${wanted === null ? 'an address of this host' : textOf(wanted)}`
      : `${config.file}: several of replication.replicas are addresses of this host: say which one with --address`,
  );
}

/** Equal for those alone that are replicas of one VM. */
function clusterOf(config: VmConfig): bigint {
  const words = [config.name, ...placesOf(config).map(textOf)];
  return xxh64(Buffer.from(words.join('\0'))) || 1n;
}

function bootOf(): bigint {
  return xxh64(readFileSync('/proc/sys/kernel/random/boot_id')) || 1n;
}

function seatOn(
  ground: Ground,
  own: Place,
  disconnected: (id: number, message: string) => void,
): Seat {
  const { config, replication, report, stateDir } = ground;
  const places = placesOf(config);
  const dir = join(stateDir.path, 'quorum');
  const isNew = !existsSync(join(dir, 'vote'));
  mkdirSync(dir, { recursive: true });
  // Once a VM has run here the images are not as they were at power-on.
  const ran = join(stateDir.path, 'ran');
  const noVm = replication.witness
    ? 'it is a witness'
    : existsSync(ran)
      ? 'its VM has run before, and there is no way back into it yet'
      : null;
  const protocol = protocolByName(replication.protocol, replication);
  return new Seat({
    clock: hostClock,
    report,
    protocol,
    facts: ground.facts,
    id: own.id,
    replicas: places.length,
    noVm,
    open: (events) =>
      new QuorumReplica(
        {
          dir,
          cluster: clusterOf(config),
          id: own.id,
          begins: isNew ? places.map((one) => ({ id: one.id, address: textOf(one) })) : null,
          // Who has a VM is elected before who has none.
          electionMs:
            replication.heartbeatMs *
            Math.max(3, replication.heartbeatMissed) *
            (noVm === null ? 1 : WITNESS_PATIENCE),
          heartbeatMs: replication.heartbeatMs,
          durable: replication.durability === 'disk',
          executes: noVm === null,
          boot: bootOf(),
        },
        events,
      ),
    setting: () => settingOf(ground),
    launch: (mode, { rtcBase }, replica) => {
      writeFileSync(ran, '');
      return launchVm({
        ...ground,
        mode,
        rtcBase,
        protocol,
        checkpoints: join(stateDir.path, 'checkpoints'),
        spool: stateDir.path,
        history: null,
        checkpointFailed: () => {},
        replica,
      });
    },
    disconnected,
    console: (bytes) => ground.console.write(bytes),
  });
}

function joinOthers(ground: Ground, own: Place, replica: QuorumReplica): Promise<Mesh> {
  const { config, report, trust } = ground;
  return Mesh.join({
    clock: hostClock,
    replica,
    own,
    others: placesOf(config).filter(({ id }) => id !== own.id),
    security: () => trust?.towards('replica') ?? null,
    told: (id, problem) => {
      if (problem === null) report('replica-connected', { replica: id });
      else report('replica-unreachable', { reason: `replica ${id}: ${problem}` });
    },
    turnedAway: (remote, reason) => report('turned-away', { remote, reason }),
  });
}

async function run(ground: Ground, own: Place, signals: SignalSource): Promise<Outcome> {
  const { logger, stateDir } = ground;
  let mesh: Mesh | null = null;
  const seat = seatOn(ground, own, (id, message) => mesh?.closed(id, message));
  let socket: StatusSocket | null = null;
  const rate = new Rate();
  const status = () =>
    statusOf({ replica: seat, daemon: factsOf(ground, own), rate, nowMs: hostClock.nowMs() });
  const sampler = setInterval(
    () => rate.sample(hostClock.nowMs(), seat.facts().logBytes),
    SAMPLE_MS,
  );
  try {
    signals.listen((count) => {
      if (count === 1) seat.stop({ powerdown: false });
      else seat.abort('killed by the operator');
    });
    mesh = await joinOthers(ground, own, seat.replica);
    socket = await StatusSocket.listen(stateDir.socket, {
      status,
      stop: (how) => seat.stop(how),
      promote: () => seat.promote(),
      consoleInput: (bytes) => seat.typeConsole(bytes),
      consoleAttach: (listener) => ground.console.listen(listener),
    });
    const outcome = await seat.done;
    logger.info({ outcome: { ...outcome, error: undefined } }, 'done');
    return outcome;
  } catch (error) {
    logger.error({ err: error }, messageOf(error));
    throw error;
  } finally {
    socket?.close();
    clearInterval(sampler);
    mesh?.close();
    await seat.tearDown();
    logger.flush();
  }
}

/** What a replica proposes that leads first. */
function settingOf(ground: Ground): Buffer {
  const { config, replication, qemu, facts } = ground;
  const rtcBase = rtcBaseNow();
  return encodeWelcome(
    welcomeOf(facts, {
      ...replication,
      protocolName: replication.protocol,
      vmId: randomBytes(16),
      term: TERM_OF_SETTING,
      rtcBase,
      vmConfig: JSON.stringify({ ...config, file: undefined, replication: undefined }),
      qemuArgs: qemuArgs(config, {
        mode: 'record',
        rtcBase,
        firmwareDir: qemu.firmwareDir,
        net: 'none',
      }),
    }),
  );
}

function factsOf(ground: Ground, own: Place) {
  const { config, replication, stateDir } = ground;
  return {
    name: config.name,
    role: ground.role,
    address: textOf(own),
    arbiter: 'none',
    arbiterProblem: null,
    arbiterAnswerMs: null,
    durability: replication.durability,
    protocol: replication.protocol,
    accel: accelByName(config.accel),
    cuts: false,
    stateDir: stateDir.path,
    startedAt: ground.startedAt,
    certificateEndsMs: ground.trust?.endsMs ?? null,
    consoleError: ground.console.error,
    history: null,
    guard: null,
  };
}
