// SPDX-License-Identifier: Apache-2.0
/** A primary and a backup in a simulated world, and what must hold at every moment. */

import type { Claimant } from '../../src/arbiter/arbiter.ts';
import { DEFAULT_PROTOCOL, type ProtocolName, protocolByName } from '../../src/epochs/registry.ts';
import type { Outcome } from '../../src/replica/outcome.ts';
import { backup, primary, type Replica } from '../../src/replica/replica.ts';
import type { Unprotected } from '../../src/vm/config.ts';
import type { VmFacts } from '../../src/wire/hello.ts';
import { SETTINGS } from './protocols.ts';
import { Random } from './random.ts';
import { SimGeneration } from './sim-generation.ts';
import type { Hooks } from './sim-hooks.ts';
import { SimLog } from './sim-log.ts';
import { SimSink } from './sim-state.ts';
import { SimVm } from './sim-vm.ts';
import { Host, SimArbiter, SimConnection, World } from './world.ts';

/** The data path's steps, as places to crash at. */
export const POINTS = {
  primary: ['exit', 'seal', 'ship', 'release', 'released'],
  backup: ['receive', 'store', 'ack', 'replay', 'verify'],
} as const;
export type Point = (typeof POINTS)[Side][number];
export type Side = 'primary' | 'backup';

export interface PairOptions {
  readonly seed: number;
  readonly delayMs?: [number, number];
  readonly heartbeatMs?: number;
  /** Default: lockstep. */
  readonly protocol?: ProtocolName;
  /** Default: run. */
  readonly unprotected?: Unprotected;
}

const FACTS: Omit<VmFacts, 'protocol'> = {
  name: 'sim',
  qemuBuildId: 'b1',
  firmware: { 'bios-256k.bin': 'eeee' },
  configHash: 'c1',
  disks: [{ name: 'disk.raw', bytes: 512n, xxh64: 1n }],
  arbiter: 'dir:/sim',
  durability: 'memory',
  marks: [],
  epochs: 'never',
  host: 'h',
  agentVersion: '0',
};

export class SimPair {
  readonly world: World;
  readonly random: Random;
  readonly arbiter: SimArbiter;
  readonly hosts: Record<Side, Host>;
  readonly logs: Record<Side, SimLog>;
  readonly primary: Replica;
  readonly backup: Replica;
  readonly vms: Partial<Record<Side, SimVm>> = {};
  readonly outcomes: Partial<Record<Side, Outcome>> = {};
  /** Packets that left, by whom. */
  readonly left: Record<Side, bigint[]> = { primary: [], backup: [] };
  connection: SimConnection | null = null;
  /** Nothing answers at the primary's address. */
  unreachable = false;
  readonly violations: string[] = [];
  readonly #o: PairOptions;
  readonly #crashes: { side: Side; point: Point; nth: number }[] = [];
  readonly #counts = new Map<string, number>();

  constructor(options: PairOptions) {
    this.#o = options;
    this.random = new Random(options.seed);
    this.world = new World(this.random);
    this.arbiter = new SimArbiter(this.world);
    this.hosts = {
      primary: new Host(this.world, 'primary'),
      backup: new Host(this.world, 'backup'),
    };
    this.logs = { primary: new SimLog(this.hosts.primary), backup: new SimLog(this.hosts.backup) };
    this.logs.backup.beforeWrite = () => this.#at('backup', 'receive');
    this.logs.backup.afterWrite = () => this.#at('backup', 'store');
    this.logs.primary.beforeWrite = () => this.#at('primary', 'ship');
    const protocolName = options.protocol ?? DEFAULT_PROTOCOL;
    const settings = { ...SETTINGS, heartbeatMs: options.heartbeatMs ?? SETTINGS.heartbeatMs };
    const terms = { ...settings, rtcBase: '2026-11-21T07:00:00', vmConfig: '{}', qemuArgs: [] };
    const common = { ...terms, durability: 'memory', protocolName } as const;
    const protocol = protocolByName(protocolName, settings);
    const facts = { ...FACTS, protocol: protocolName };
    this.primary = primary({
      clock: this.hosts.primary,
      report: (event, details) => this.world.note(`P ${event} ${text(details)}`),
      arbiter: this.arbiter.for(this.hosts.primary),
      ...this.#who('primary'),
      facts,
      terms: { ...common, vmId: Buffer.alloc(16, 7) },
      protocol,
      where: 'sim:1',
      launch: () => Promise.resolve(this.#launch('primary', 'record')),
      log: this.logs.primary,
      console: () => {},
      guard: () => {},
    });
    this.backup = backup({
      clock: this.hosts.backup,
      report: (event, details) => this.world.note(`B ${event} ${text(details)}`),
      arbiter: this.arbiter.for(this.hosts.backup),
      ...this.#who('backup'),
      facts: () => Promise.resolve(facts),
      connect: (events) => this.#connect(events),
      where: 'sim:1',
      joinDeadlineMs: 60_000,
      sink: () => new SimSink(this.hosts.backup),
      terms: ({ vmId }) => ({ ...common, vmId }),
      protocol,
      listen: () => {},
      launch: () => Promise.resolve(this.#launch('backup', 'replay')),
      openLog: () => this.logs.backup,
      console: () => {},
      guard: () => {},
    });
    void this.primary.done.then((outcome) => (this.outcomes.primary = outcome));
    void this.backup.done.then((outcome) => (this.outcomes.backup = outcome));
  }

  /** The side dies when this point of the path is passed for the nth time, or the next time. */
  crashAt(side: Side, point: Point, nth: number): void {
    this.#crashes.push({ side, point, nth });
  }

  async start(): Promise<void> {
    void this.primary.start().then(() => this.backup.start());
    await this.run(30);
  }

  /** @param ms of virtual time from now */
  async run(ms: number): Promise<void> {
    await this.world.run(this.world.now + ms, () => this.#check());
  }

  dispose(): void {
    this.world.end();
  }

  /** Who can send packets, or could, by itself: alive and not stopped. */
  goers(): Side[] {
    return (['primary', 'backup'] as const).filter(
      (side) => this.hosts[side].alive && this.vms[side]?.live === true,
    );
  }

  #who(role: Side) {
    const claimant: Claimant = { role, name: role, host: 'sim', pid: 1, instance: role };
    const generation = new SimGeneration(this.hosts[role], claimant, this.random);
    return { claimant, generation, unprotected: this.#o.unprotected ?? 'run' };
  }

  #connect(events: Parameters<SimConnection['open']>[1]) {
    const [a, b] = this.#o.delayMs ?? [0.1, 0.1];
    const { primary, backup } = this.hosts;
    const connection = new SimConnection(this.world, primary, backup, [a, b]);
    this.connection = connection;
    const link = connection.open(1, events);
    if (this.unreachable || !primary.alive) {
      this.world.after(1, () => connection.cut());
      return link;
    }
    this.primary.meet((accepted) => connection.open(0, accepted));
    return link;
  }

  #launch(side: Side, mode: 'record' | 'replay'): SimVm {
    const hooks: Hooks = {
      produced: () => this.#at(side, 'exit'),
      sealed: () => this.#at(side, 'seal'),
      acks: () => this.#at(side, 'ack'),
      filled: () => this.#at(side, 'replay'),
      executed: () => this.#at(side, 'verify'),
      beforeCommit: () => this.#at(side, 'release'),
      afterCommit: () => this.#at(side, 'released'),
      left: (ordinal) => this.#left(side, ordinal),
      shown: (ordinal) => this.#mayLeave(side, ordinal, 'console output'),
      wentLive: () => this.#wentLive(side),
    };
    const vm = new SimVm(this.hosts[side], mode, hooks, this.random.int(1, 20));
    this.vms[side] = vm;
    return vm;
  }

  #at(side: Side, point: Point): void {
    const key = `${side} ${point}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    for (const crash of this.#crashes) {
      if (crash.side === side && crash.point === point && crash.nth <= count) {
        this.hosts[side].crash(`at ${point} number ${count}`);
      }
    }
  }

  #left(side: Side, ordinal: bigint): void {
    this.left[side].push(ordinal);
    this.#mayLeave(side, ordinal, 'packet');
  }

  /** What left was covered by an ack, or by a fence that was won. */
  #mayLeave(side: Side, ordinal: bigint, what: string): void {
    const holder = this.arbiter.holder;
    if (side === 'backup') {
      if (holder?.name !== 'backup') {
        this.#violated(`the backup let ${what} ${ordinal} leave without the fence`);
      }
      return;
    }
    const covered = this.logs.backup.recordEnd > ordinal;
    const alone = holder?.name === 'primary' && holder.term > 1;
    if (!covered && !alone) {
      this.#violated(
        `${what} ${ordinal} left, the backup holds the log up to ${this.logs.backup.recordEnd}`,
      );
    }
  }

  /** Nothing that left may be unknown to the side that goes on. */
  #wentLive(side: Side): void {
    const lost = this.left.primary.filter((ordinal) => ordinal >= this.logs.backup.recordEnd);
    if (side === 'backup' && lost.length > 0) this.#violated(`lost: ${lost.join(', ')}`);
    if (this.arbiter.holder?.name !== side) this.#violated(`${side} is live without the fence`);
  }

  #check(): void {
    if (this.goers().length > 1) this.#violated('two live VMs');
  }

  #violated(what: string): void {
    this.world.note(`VIOLATION ${what}`);
    this.violations.push(what);
  }
}

function text(details: unknown): string {
  return JSON.stringify(details, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
}
