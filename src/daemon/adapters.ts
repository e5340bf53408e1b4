// SPDX-License-Identifier: Apache-2.0
/** The real world behind ports.ts: the addon's ring, a QEMU process. */
import { rmSync } from 'node:fs';
import {
  CONSOLE,
  CONTROL,
  type ExitRing,
  Image,
  type Limits,
  Link,
  type QuorumReplica,
  type Security,
  type VmPlace,
} from '../../native/kvm-exit-log/index.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Undo } from '../base/undo.ts';
import type { Protocol } from '../epochs/protocol.ts';
import { describeReport, parseReport } from '../log/divergence.ts';
import type { Origin } from '../log/entrance.ts';
import { KIND } from '../log/kinds.ts';
import { LogFile } from '../log/log-file.ts';
import type { Ring, RingSnapshot, Shipping, Vm, VmExit } from '../replica/ports.ts';
import { accelByName } from '../vm/accel/registry.ts';
import { checkpointRefusal, ON_REQUEST } from '../vm/checkpointing.ts';
import type { Address, VmConfig } from '../vm/config.ts';
import { ConsoleInput } from '../vm/console-input.ts';
import { DiskListeners, diskNews } from '../vm/disk-news.ts';
import { Machine, type MachineOptions } from '../vm/machine.ts';
import { faultFromEnv } from '../vm/qemu-args.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import type { QemuExit } from '../vm/qemu-process.ts';
import { hangTimeoutMs } from '../vm/watchdog.ts';
import { Connection, type LinkEvents } from '../wire/connection.ts';
import type { HistoryPlan } from './history.ts';
import { ImageSource } from './image-source.ts';
import { VmStateSource } from './state-source.ts';
import { VmCourier } from './vm-courier.ts';

export const hostClock: Clock = {
  // CLOCK_MONOTONIC, the clock of shm's live_at_ns.
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};

const INPUT_BYTES_MAX = 64 * 1024;

/** The addon's ring as the state machines see it; usable, as a memory, after `close`. */
export class HostRing implements Ring {
  readonly #ring: ExitRing;
  readonly #input: ConsoleInput;
  readonly #guardInput: ConsoleInput;
  #last: RingSnapshot | null = null;
  #closed = false;

  constructor(ring: ExitRing) {
    this.#ring = ring;
    this.#input = new ConsoleInput(ring);
    this.#guardInput = new ConsoleInput(ring, CONSOLE.guard);
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#type(this.#input, bytes);
  }

  typeGuard(bytes: Uint8Array): boolean {
    return this.#type(this.#guardInput, bytes);
  }

  #type(input: ConsoleInput, bytes: Uint8Array): boolean {
    if (this.#closed || input.queuedBytes > INPUT_BYTES_MAX) return false;
    input.type(bytes);
    return true;
  }

  reset(): boolean {
    return !this.#closed && this.#ring.command(KIND.RESET, 0);
  }

  powerdown(): boolean {
    return !this.#closed && this.#ring.command(KIND.POWERDOWN, 0);
  }

  goLive(alone: boolean): void {
    this.#control(CONTROL.GO_LIVE | (alone ? CONTROL.DETACHED : 0));
  }

  detach(): void {
    this.#control(CONTROL.DETACHED);
  }

  undetach(): void {
    if (!this.#closed) this.#ring.clearControl(CONTROL.DETACHED);
  }

  stop(): void {
    this.#control(CONTROL.STOP);
  }

  snapshot(): RingSnapshot {
    if (this.#closed && this.#last !== null) return this.#last;
    const status = this.#ring.status();
    this.#last = {
      state: status.state,
      endReason: status.endReason,
      position: { point: status.point, vtimeNs: status.vtimeNs },
      heartbeat: status.heartbeat,
      visits: status.visits,
      outputs: status.outputs,
      outputsReleased: status.outputsReleased,
      inPending: status.inPending,
      liveAtNs: status.liveAtNs,
      clockBehindNs: status.clockBehindNs,
      events: status.events,
      epochs: status.epochs,
      epochPages: status.epochPages,
      epochPauseNs: status.epochPauseNs,
      epochPauseNsMax: status.epochPauseNsMax,
      stateIsFull: status.stateIsFull,
      epochPauseNsP99: status.epochPauseNsP99,
      epochReferences: status.epochReferences,
      epochVersions: status.epochVersions,
      error: status.error === '' ? null : status.error,
    };
    return this.#last;
  }

  place(): VmPlace {
    return this.#closed && this.#last !== null ? this.#last : this.#ring.place();
  }

  /** Before the ring goes. */
  close(): void {
    this.snapshot();
    this.#input.close();
    this.#guardInput.close();
    this.#closed = true;
  }

  #control(flags: number): void {
    if (!this.#closed) this.#ring.control(flags);
  }
}

export interface LaunchOptions {
  readonly config: VmConfig;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  readonly mode: 'record' | 'replay';
  readonly protocol: Protocol;
  readonly rtcBase: string;
  /** Where its checkpoints go, for a backup that joins it; emptied first. */
  readonly checkpoints: string;
  /** Folder for what waits for a backup that joins. */
  readonly spool: string;
  /** Where a replay starts; null or absent: power-on. */
  readonly from?: Origin | null;
  /** Checkpoints of its past; null: none. */
  readonly history: HistoryPlan | null;
  /** Who has its ring; absent: a courier. */
  readonly replica?: QuorumReplica;
  /** A checkpoint could not be made: why. */
  readonly checkpointFailed: (reason: string) => void;
}

/** What an epoch is larger than waits for the link. */
const STATE_BYTES = 64 * 2 ** 20;

const CHECKPOINT_FAILED = /exitlog: (checkpoint (?:skipped|at) .*)/;

/** Starts a QEMU, for whoever leads or follows. */
export async function launchVm(options: LaunchOptions): Promise<Vm> {
  const { config, qemu, logger, protocol, checkpoints, spool, from = null } = options;
  const refusal = checkpointRefusal(config);
  const disks = new DiskListeners();
  rmSync(checkpoints, { recursive: true, force: true });
  const undo = new Undo();
  const waiting = imageFor(options);
  undo.add(() => waiting?.release());
  const machine = await Machine.start({
    config,
    qemu,
    logger,
    args: argsOf(options, refusal),
    ...(waiting === null ? {} : { image: waiting }),
    ring: protocol.cut === null ? {} : { stateBytes: STATE_BYTES },
    undo,
    // An image gets there by itself: its first epoch has everything.
    origin: waiting === null ? from : null,
    onLine: (line) => {
      const failed = CHECKPOINT_FAILED.exec(line)?.[1];
      if (failed !== undefined) options.checkpointFailed(failed);
      const news = diskNews(line, config.disks);
      if (news !== null) disks.tell(news);
    },
    hangTimeoutMs: hangTimeoutMs('pair'),
  });
  const ring = new HostRing(machine.ring);
  machine.undo.add(() => ring.close());
  options.replica?.run(machine.ring);
  const breach = breachOf(machine);
  const { digestEvery = 0, stuckMsMax = 0 } = config.replication ?? {};
  const watch = { limits: limitsOf(stuckMsMax), broken: breach.found };
  const courier = new VmCourier(machine.ring, waiting, digestEvery, watch);
  machine.undo.add(() => courier.close());
  let shipped: { dir: string; vmId: Buffer } | null = null;
  let shipping: Shipping | null = null;
  let gone = false;
  const common = {
    clock: hostClock,
    ring: machine.ring,
    alive: () => !gone,
    images: config.disks.map((disk) => disk.image),
    refusal,
  };
  const source =
    protocol.cut === null
      ? new VmStateSource({
          ...common,
          checkpoints,
          log: () => shipped,
          flush: async () => shipping?.flush(),
        })
      : new ImageSource({ ...common, shipping: () => courier.ships, dir: spool });
  const listeners: ((exit: VmExit) => void)[] = [];
  const exited = machine.exited.then((exit) => {
    gone = true;
    const told = breach.exit() ?? explain(exit, ring.snapshot().endReason, config);
    for (const listener of listeners) listener(told);
  });
  return {
    ring,
    holds: machine.holds,
    pid: machine.pid,
    exited,
    onExit: (run) => void listeners.push(run),
    onDisk: (run) => disks.add(run),
    source,
    ship: (how) => {
      if (how.log instanceof LogFile) shipped = { dir: how.log.start.dir, vmId: how.vmId };
      shipping = courier.ship(how);
      return shipping;
    },
    receive: (how) => courier.receive(how),
    kill: () => machine.kill(),
    close: () => machine.end(),
  };
}

/** A side that is sick has said so before its peer gives it up. */
function limitsOf(stuckMs: number): Limits {
  return { diskMs: stuckMs, courierMs: stuckMs, ackMs: Math.ceil(stuckMs * 1.5) };
}

/** What a backup that executes nothing receives into; null: it executes, or leads. */
function imageFor({ mode, protocol, config }: LaunchOptions): Image | null {
  if (mode === 'record' || protocol.follower !== 'image') return null;
  const disks = config.disks.map(({ image }) => image);
  const durable = config.replication?.durability === 'disk';
  return new Image(config.memoryBytes, disks, durable);
}

function argsOf(
  { config, mode, protocol, rtcBase, checkpoints, history }: LaunchOptions,
  refusal: string | null,
): MachineOptions['args'] {
  const onDiskError = config.replication?.onDiskError ?? 'stop';
  return {
    mode,
    rtcBase,
    net: 'configured',
    // A backup has them too: it logs when it has gone live. Nobody compares a state's.
    digestEvery: protocol.cut === null ? (config.replication?.digestEvery ?? 0) : 0,
    ...(refusal === null && accelByName(config.accel).isExact
      ? { checkpoints: planFor(checkpoints, history) }
      : {}),
    onDiskError,
    leavesFailing: onDiskError === 'stop',
    diskStuckMs: config.replication?.stuckMsMax ?? 0,
    fault: faultFromEnv(),
  };
}

function planFor(asked: string, history: HistoryPlan | null) {
  if (history === null) return { dir: asked, numbers: ON_REQUEST };
  return { ...history, askedDir: asked };
}

/** A rule of the ring that QEMU has broken: nothing of that process is believed any more. */
function breachOf(machine: Machine) {
  let rule: string | null = null;
  const message = (): string => `QEMU broke a rule of the ring, and was killed: ${rule}`;
  return {
    found: (why: string): void => {
      rule ??= why;
      machine.kill();
    },
    exit: (): VmExit | null => (rule === null ? null : { reason: 'failed', message: message() }),
  };
}

function explain(exit: QemuExit, endReason: string | null, config: VmConfig): VmExit {
  const { reason } = exit;
  if (reason === 'ended') {
    const message = endReason === 'stop' ? 'the VM was stopped' : 'the guest powered off';
    return { reason, message };
  }
  if (reason === 'diverged') {
    const report = parseReport(exit.shmError);
    if (report !== null) return { reason, message: describeReport(report).join('\n') };
  }
  const failed = exit.stderr.split('\n').findLast((line) => /of this replica's image/.test(line));
  const news = failed === undefined ? null : diskNews(failed, config.disks);
  if (news !== null && 'text' in news) return { reason, message: news.text };
  const said = exit.error?.message ?? (exit.shmError || exit.stderr.trim().slice(-500));
  return { reason, message: said === '' ? `QEMU was ${reason}` : said };
}

/** Connects; failures arrive as `closed`. */
export function connectTo(
  address: Address,
  security: Security | null,
): (events: LinkEvents) => Connection {
  return (events) => new Connection(Link.to(address.host, address.port, security), events);
}
