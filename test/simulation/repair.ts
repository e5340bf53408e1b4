// SPDX-License-Identifier: Apache-2.0
/**
 * One VM over many hosts: sides die, new backups join the one that is left, roles
 * swap. What must hold at every moment is checked on the packets' numbers since
 * power-on: a side that goes live knows of every packet that ever left.
 */

import { type ProtocolName, protocolByName } from '../../src/epochs/registry.ts';
import type { FrameType } from '../../src/log/frame.ts';
import type { Outcome } from '../../src/replica/outcome.ts';
import { backup, primary, type Replica } from '../../src/replica/replica.ts';
import type { Link, LinkEvents } from '../../src/wire/connection.ts';
import type { VmFacts } from '../../src/wire/hello.ts';
import { SETTINGS } from './protocols.ts';
import { Random } from './random.ts';
import { SimGeneration } from './sim-generation.ts';
import type { Hooks } from './sim-hooks.ts';
import { SimLog } from './sim-log.ts';
import { SimSink } from './sim-state.ts';
import { SimVm } from './sim-vm.ts';
import { Host, SimArbiter, SimConnection, World } from './world.ts';

const TERMS = {
  ...SETTINGS,
  rtcBase: '2026-11-21T07:00:00',
  vmConfig: '{}',
  qemuArgs: [],
  durability: 'memory',
} as const;
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

export interface Member {
  readonly host: Host;
  readonly daemon: Replica;
  vm: SimVm | null;
  outcome: Outcome | null;
  readonly generation: SimGeneration;
}

export class Repair {
  readonly random: Random;
  readonly world: World;
  readonly arbiter: SimArbiter;
  readonly members: Member[] = [];
  readonly violations: string[] = [];
  /** How often a VM went live after the first. */
  takeovers = 0;
  readonly #protocol: ProtocolName;
  #left = -1n;
  /** Where the backup that joined last stores. */
  #backupLog: SimLog | null = null;
  /** Where each host listens, once it leads. */
  readonly #meets = new Map<Host, (connect: (events: LinkEvents) => Link) => void>();
  readonly #connections: { readonly hosts: readonly Host[]; readonly link: SimConnection }[] = [];

  constructor(seed: number, protocol: ProtocolName) {
    this.#protocol = protocol;
    this.random = new Random(seed);
    this.world = new World(this.random);
    this.arbiter = new SimArbiter(this.world);
  }

  /** Each connection from now on damages the first frame of this type. */
  damages: FrameType | null = null;

  /** Powers the VM on, on two hosts. */
  async start(settleMs: number): Promise<void> {
    const host = new Host(this.world, 'h0');
    const common = this.#common(host);
    let launches = 0;
    const replica = primary({
      ...common,
      facts: this.#facts(),
      terms: { ...TERMS, protocolName: this.#protocol, vmId: Buffer.alloc(16, 7) },
      where: 'sim',
      launch: async () => {
        launches += 1;
        if (launches > 1) this.#violated('powered on twice');
        // A QEMU takes a while to start, and backups come and go meanwhile.
        const ms = this.random.next() * 20;
        await new Promise<void>((resolve) => host.after(ms, resolve));
        return this.#launch(member, 'record', null);
      },
      log: new SimLog(host),
    });
    const member = this.#enlist(host, replica, common.generation);
    void replica.start();
    await this.run(10);
    this.#meets.set(host, (connect) => replica.meet(connect));
    this.join();
    await this.run(settleMs);
  }

  /** A new host's backup looks for the VM. */
  join(): Member {
    const host = new Host(this.world, `h${this.members.length}`);
    const common = this.#common(host);
    const replica = backup({
      ...common,
      facts: () => Promise.resolve(this.#facts()),
      connect: (events) => this.#connect(host, events),
      where: 'sim',
      joinDeadlineMs: null,
      sink: () => new SimSink(host),
      launch: (_welcome, from) => Promise.resolve(this.#launch(member, 'replay', from)),
      openLog: () => {
        this.#backupLog = new SimLog(host);
        return this.#backupLog;
      },
      terms: ({ vmId }) => ({ ...TERMS, protocolName: this.#protocol, vmId }),
      listen: () => this.#meets.set(host, (connect) => replica.meet(connect)),
    });
    const member = this.#enlist(host, replica, common.generation);
    void replica.start();
    return member;
  }

  async run(ms: number): Promise<void> {
    await this.world.run(this.world.now + ms, () => this.#check());
  }

  /** Until it is so, for `ms` at most. */
  async until(done: () => boolean, ms: number): Promise<boolean> {
    for (let waited = 0; waited < ms && !done(); waited += 5) await this.run(5);
    return done();
  }

  /** Whose VM is live, or null. */
  leader(): Member | null {
    const live = this.alive().filter(({ vm }) => vm?.leads === true);
    return live.length === 1 ? (live[0] ?? null) : null;
  }

  follower(): Member | null {
    return this.alive().find(({ daemon }) => daemon.phase.state === 'standby') ?? null;
  }

  isProtected(): boolean {
    return this.leader()?.daemon.phase.state === 'protected' && this.follower() !== null;
  }

  /** Whose images would be powered on if all hosts went down now: who has all, and one that leads at most. */
  newest(): Member[] {
    const newest = this.members.filter(({ generation }) => generation.isNewest(this.arbiter));
    const leading = newest.filter(({ generation }) => generation.mark?.state === 'live');
    if (leading.length > 1) this.#violated(`${leading.length} images are the newest`);
    for (const { host, vm } of newest) {
      const known = vm?.outputs ?? 0n;
      if (this.#left >= known) {
        this.#violated(`${host.name}'s image knows ${known} packets; ${this.#left} has left`);
      }
    }
    return newest;
  }

  alive(): Member[] {
    return this.members.filter(({ host, outcome }) => host.alive && outcome === null);
  }

  dispose(): void {
    this.world.end();
  }

  /** The network between the hosts breaks their connections. */
  cut(): void {
    for (const { link, hosts } of this.#connections) {
      if (hosts.every((host) => host.alive)) link.cut();
    }
  }

  #facts(): VmFacts {
    return { ...FACTS, protocol: this.#protocol };
  }

  #common(host: Host) {
    const who = { role: 'backup', name: host.name, host: 'sim', pid: 1 } as const;
    const claimant = { ...who, instance: host.name };
    return {
      clock: host,
      report: (event: string, details?: unknown) =>
        this.world.note(`${host.name} ${event} ${text(details)}`),
      arbiter: this.arbiter.for(host),
      claimant,
      unprotected: 'run' as const,
      generation: new SimGeneration(host, claimant, this.random),
      protocol: protocolByName(this.#protocol, SETTINGS),
      console: () => {},
      guard: () => {},
    } as const;
  }

  #enlist(host: Host, daemon: Replica, generation: SimGeneration): Member {
    const member: Member = { host, daemon, vm: null, outcome: null, generation };
    this.members.push(member);
    void daemon.done.then((outcome) => {
      member.outcome = outcome;
      this.#meets.delete(host);
    });
    return member;
  }

  #connect(from: Host, events: LinkEvents): Link {
    const targets = [...this.#meets].filter(([host]) => host.alive && host !== from);
    const [to, meet] = targets[this.random.int(0, Math.max(0, targets.length - 1))] ?? [];
    const delay = 0.05 + this.random.next();
    const link = new SimConnection(this.world, to ?? from, from, [delay, delay]);
    this.#connections.push({ hosts: [from, to ?? from], link });
    if (this.damages !== null) link.damageNext(this.damages);
    const mine = link.open(1, events);
    if (meet === undefined) this.world.after(1, () => link.cut());
    else meet((accepted) => link.open(0, accepted));
    return mine;
  }

  #launch(
    member: Member,
    mode: 'record' | 'replay',
    from: ConstructorParameters<typeof SimVm>[4],
  ): SimVm {
    const nothing = () => {};
    const hooks: Hooks = {
      produced: nothing,
      sealed: nothing,
      acks: nothing,
      shown: nothing,
      filled: nothing,
      executed: nothing,
      beforeCommit: nothing,
      afterCommit: nothing,
      left: (ordinal, output) => {
        if (output > this.#left) this.#left = output;
        this.#checkCovered(member, ordinal);
      },
      wentLive: () => this.#wentLive(member),
    };
    const vm = new SimVm(member.host, mode, hooks, this.random.int(1, 20), from ?? null);
    member.vm = vm;
    return vm;
  }

  #wentLive({ host, vm }: Member): void {
    this.takeovers += 1;
    const known = vm?.outputs ?? 0n;
    if (this.#left >= known) {
      this.#violated(`${host.name} is live and knows ${known} packets; ${this.#left} has left`);
    }
    if (this.arbiter.holder?.name !== host.name) this.#violated(`${host.name} has no fence`);
  }

  /** What leaves while a backup is counted on is in its log. */
  #checkCovered({ host, daemon, vm }: Member, ordinal: bigint): void {
    if (daemon.phase.state !== 'protected' || vm?.live === true) return;
    const end = this.#backupLog?.recordEnd ?? 0n;
    if (ordinal >= end) this.#violated(`${host.name} let ${ordinal} leave; its backup has ${end}`);
  }

  #check(): void {
    const goers = this.members.filter(({ host, vm }) => host.alive && vm?.live === true);
    if (goers.length > 1) this.#violated(`live: ${goers.map(({ host }) => host.name).join(', ')}`);
    this.newest();
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
