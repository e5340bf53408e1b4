// SPDX-License-Identifier: Apache-2.0
/**
 * A replica's part in its VM: what it does when it is elected, follows, or leads no more.
 *
 *     none ──► launching ──► replaying ──► going live ──► live
 *      nothing     QEMU          what is        it has all     its log is
 *      agreed on                 agreed on      and leads      agreed on
 *
 * and from everywhere to gone: a replica without a VM stores and votes, and gives the lead away.
 * Who is elected while nothing was agreed on powers the VM on. Nobody decides about a take-over but
 * the election: a leader has by then all that any leader may have let go.
 */
import type { QuorumEvents, QuorumReplica, QuorumRole } from '../../native/kvm-exit-log/index.ts';
import { type Clock, sleep, type Timer } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Outcome } from '../replica/outcome.ts';
import { Phase } from '../replica/phase.ts';
import type { Report, Vm, VmExit } from '../replica/ports.ts';
import { NO_FACTS, type ReplicaFacts } from '../replica/posture.ts';
import type { VmFacts } from '../wire/hello.ts';
import type { Welcome } from '../wire/messages.ts';
import { readSetting, settingDiffers } from './setting.ts';

export interface SeatOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly protocol: Protocol;
  readonly facts: VmFacts;
  readonly id: number;
  readonly replicas: number;
  /** Why it runs no VM, from the beginning; null: it does. */
  readonly noVm: string | null;
  readonly open: (events: QuorumEvents) => QuorumReplica;
  /** What it proposes if it leads first: a welcome. */
  readonly setting: () => Buffer;
  /**
   * Starts QEMU, whose ring is the replica's.
   * @param mode record: it is powered on, and live; replay: it executes what is agreed on
   */
  readonly launch: (
    mode: 'record' | 'replay',
    agreed: Welcome,
    replica: QuorumReplica,
  ) => Promise<Vm>;
  /** The link to a replica is gone. */
  readonly disconnected: (id: number, message: string) => void;
  readonly console: (bytes: Buffer) => void;
}

type State = 'none' | 'launching' | 'replaying' | 'going-live' | 'live' | 'gone';

const POLL_MS = 1;
const LOOK_MS = 200;
const LAST_MS_MAX = 5000;
/** Within it all hear, by a heartbeat, that the last batch is agreed on. */
const FAREWELL_MS = 1000;

export class Seat {
  readonly phase: Phase;
  readonly done: Promise<Outcome>;
  readonly replica: QuorumReplica;
  readonly #o: SeatOptions;
  #state: State;
  #why: string;
  #vm: Vm | null = null;
  #agreed: Welcome | null = null;
  /** It leads in this term, and has all; null: it does not. */
  #readyTerm: number | null = null;
  #proposedIn: number | null = null;
  #ending = false;
  #timer: Timer | null = null;
  #finish: (outcome: Outcome) => void = () => {};

  constructor(options: SeatOptions) {
    this.#o = options;
    this.#state = options.noVm === null ? 'none' : 'gone';
    this.#why = options.noVm ?? '';
    this.phase = new Phase(options.report, 'starting');
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.replica = options.open({
      opened: () => this.#look(),
      role: (role, term) => this.#role(role, term),
      ready: (term) => this.#ready(term),
      deposed: (leader) => this.#lose(`replica ${leader} leads now`),
      committed: (_index, bytes) => this.#agree(bytes),
      console: (bytes) => options.console(bytes),
      closed: (peer, code, message) => {
        options.report('replica-lost', { replica: peer, code, reason: message });
        options.disconnected(peer, message);
      },
      broken: (reason) => this.#lose(reason),
      failed: (reason) => this.#end({ ok: false, code: 'failure', reason }),
    });
    this.#watch();
  }

  facts(): ReplicaFacts & { readonly lastRefused: string | null; readonly refused: number } {
    const { term } = this.replica.facts();
    const received = this.replica.receiveFacts();
    const shipped = this.replica.shipFacts();
    const leads = this.#state === 'live';
    return {
      ...NO_FACTS,
      lastRefused: null,
      refused: 0,
      term: Number(term),
      vmId: this.#agreed?.vmId.toString('hex') ?? null,
      vm: this.#vm,
      sequence: leads ? shipped.sequence - 1n : received.lastSequence,
      ackedSequence: leads ? shipped.ackedSequence : received.storedSequence,
      logBytes: received.bytes,
      batchesHeld: leads ? shipped.held : 0,
    };
  }

  typeConsole(bytes: Uint8Array): boolean {
    return this.#state === 'live' && this.#vm !== null && this.#vm.ring.typeConsole(bytes);
  }

  /** Who leads ends the VM, for all; another one leaves. */
  stop({ powerdown }: { readonly powerdown: boolean }): void {
    if (this.#state === 'live' && this.#vm !== null) {
      if (powerdown) this.#vm.ring.powerdown();
      else this.#vm.ring.stop();
      return;
    }
    this.#end({ ok: true, code: 'stopped', reason: 'stopped by the operator' });
  }

  abort(reason: string): void {
    this.#end({ ok: false, code: 'failure', reason });
  }

  /** @throws UnderstudyError not-running */
  async promote(): Promise<void> {
    throw new UnderstudyError('not-running', 'replicas give the lead away by themselves only');
  }

  /** After `done`: nothing is left of it. */
  async tearDown(): Promise<void> {
    this.#timer?.cancel();
    this.#vm?.kill();
    await this.#vm?.exited;
    await this.#vm?.close();
    this.replica.destroy();
  }

  #role(role: QuorumRole, term: number): void {
    this.#o.report('role', { role, term });
    if (role === 'leader') return;
    this.#readyTerm = null;
    // A VM that is live waits: it goes on if this replica is elected again before another one is.
    if (this.#state === 'going-live') this.#lose('it led no more when it was about to go live');
    this.#look();
  }

  #ready(term: number): void {
    this.#readyTerm = term;
    this.#act();
  }

  #agree(bytes: Buffer): void {
    if (this.#agreed !== null) return;
    let why: string | null;
    try {
      this.#agreed = readSetting(bytes);
      why = settingDiffers(this.#agreed, this.#o.facts);
    } catch (error) {
      why = messageOf(error);
    }
    if (why !== null) this.#lose(why);
    this.#act();
  }

  /** What follows from what it is and knows. */
  #act(): void {
    if (this.#ending) return;
    this.#look();
    const term = this.#readyTerm;
    if (this.#state === 'gone') {
      // It has nobody to lead with.
      if (term !== null) this.replica.transfer(0);
      return;
    }
    if (this.#agreed === null) {
      if (term === null || this.#proposedIn === term) return;
      this.#proposedIn = term;
      this.replica.propose(this.#o.setting());
    } else if (this.#state === 'none') {
      void this.#launch(term === null ? 'replay' : 'record', this.#agreed);
    } else if (this.#state === 'replaying' && term !== null) {
      void this.#goLive(this.#agreed);
    }
  }

  async #launch(mode: 'record' | 'replay', agreed: Welcome): Promise<void> {
    this.#state = 'launching';
    this.#look();
    let vm: Vm;
    try {
      vm = await this.#o.launch(mode, agreed, this.replica);
    } catch (error) {
      this.#lose(`QEMU did not start: ${messageOf(error)}`);
      return;
    }
    this.#vm = vm;
    vm.onExit((exit) => void this.#exited(exit));
    vm.onDisk((news) => this.#o.report('disk', { ...news }));
    if (this.#ending || this.#state !== 'launching') {
      vm.kill();
    } else if (mode === 'replay') {
      this.#state = 'replaying';
      this.#act();
    } else if (this.#readyTerm === null) {
      this.#lose('another replica leads since it was powered on');
    } else {
      this.#lead(agreed, this.#readyTerm);
    }
  }

  #lead({ vmId }: Welcome, term: number): void {
    this.replica.lead({ vmId, term, seal: this.#o.protocol.seal });
    this.#state = 'live';
    this.#o.report('leads', { term });
    this.#look();
  }

  /** It executes the rest of what is agreed on, and goes on from there. */
  async #goLive(agreed: Welcome): Promise<void> {
    const { clock } = this.#o;
    const vm = this.#vm;
    if (vm === null) return;
    this.#state = 'going-live';
    const from = clock.nowMs();
    const isOver = (): boolean => this.#ending || this.#state !== 'going-live';
    while (!this.replica.receiveFacts().empty || vm.ring.snapshot().state === 'init') {
      await sleep(clock, POLL_MS);
      if (isOver()) return;
    }
    if (this.replica.receiveFacts().lastSequence === null) return this.#powerOnAgain(vm, agreed);
    vm.ring.goLive(false);
    while (vm.ring.snapshot().state !== 'recording') {
      await sleep(clock, POLL_MS);
      if (isOver()) return;
    }
    const term = this.#readyTerm;
    if (term === null) return;
    this.#lead(agreed, term);
    this.#o.report('took-over', { term, ms: Math.round(clock.nowMs() - from) });
  }

  /** Nothing of its log was ever agreed on: it was never on. */
  async #powerOnAgain(vm: Vm, agreed: Welcome): Promise<void> {
    this.#vm = null;
    vm.kill();
    await vm.exited;
    await vm.close();
    if (this.#ending || this.#state !== 'going-live') return;
    if (this.#readyTerm === null) this.#lose('it led no more when it was about to power it on');
    else await this.#launch('record', agreed);
  }

  async #exited(exit: VmExit): Promise<void> {
    if (this.#ending || this.#vm === null || this.#state === 'gone') return;
    if (exit.reason !== 'ended') {
      this.#lose(exit.message);
      this.#act();
      return;
    }
    if (this.#state === 'live') await this.#lastAgreement();
    this.#end({ ok: true, code: 'stopped', reason: exit.message });
  }

  /** The END is agreed on, and the others hear of it. */
  async #lastAgreement(): Promise<void> {
    const { clock } = this.#o;
    const deadlineMs = clock.nowMs() + LAST_MS_MAX;
    await Promise.race([this.replica.flush(), sleep(clock, LAST_MS_MAX)]);
    while (!this.replica.shipFacts().allAcked && clock.nowMs() < deadlineMs) {
      await sleep(clock, POLL_MS);
    }
    await sleep(clock, FAREWELL_MS);
  }

  /** Its VM is not what is agreed on any more, or cannot go on: it ends at once. */
  #lose(why: string): void {
    if (this.#ending || this.#state === 'gone') return;
    this.#state = 'gone';
    this.#why = why;
    this.#vm?.kill();
    this.#o.report('vm-lost', { reason: why });
    this.#look();
  }

  /** While it leads without a VM, it tries again to give the lead away. */
  #watch(): void {
    this.#timer = this.#o.clock.after(LOOK_MS, () => {
      if (this.#ending) return;
      this.#act();
      this.#watch();
    });
  }

  #look(): void {
    if (this.#ending || this.replica === undefined) return;
    const { leader, connected } = this.replica.facts();
    const { replicas, id } = this.#o;
    const all = `${connected.length + 1} of ${replicas} replicas`;
    const who = leader === null ? 'nobody leads' : `replica ${leader} leads`;
    if (this.#state === 'live') {
      const isMajority = 2 * (connected.length + 1) > replicas;
      if (isMajority && leader === id) this.phase.set('protected', `replica ${id} leads ${all}`);
      else this.phase.set('syncing', `outputs wait for a majority: there are ${all}`);
    } else if (this.#state === 'gone') {
      const what = `runs no VM (${this.#why}), stores and votes`;
      this.phase.set(this.#o.noVm === null ? 'needs-backup' : 'standby', `${what}; ${who}`);
    } else if (this.#state === 'replaying' && leader !== null && leader !== id) {
      this.phase.set('standby', `${who}; there are ${all}`);
    } else {
      this.phase.set('syncing', `${this.#state}; ${who}; there are ${all}`);
    }
  }

  #end(outcome: Outcome): void {
    if (this.#ending) return;
    this.#ending = true;
    this.phase.set('stopped', outcome.reason);
    this.#finish(outcome);
  }
}
