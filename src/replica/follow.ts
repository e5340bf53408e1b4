// SPDX-License-Identifier: Apache-2.0
/**
 * The posture of a backup until its VM is live; then lead.ts's. It looks for the VM,
 * stands by for whoever has it (stand-by.ts), and looks again when that one is lost
 * before there is anything to take over.
 */
import { sleep } from '../base/clock.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import type { Terms, VmFacts } from '../wire/hello.ts';
import type { Welcome } from '../wire/messages.ts';
import { BadState } from './join.ts';
import { meet } from './meet.ts';
import type { Outcome } from './outcome.ts';
import { type Beginning, NO_FACTS, type ReplicaFacts, type Self } from './posture.ts';
import { StandBy, type StandByOptions, type WentLive } from './stand-by.ts';

export interface FollowOptions extends StandByOptions {
  /** As they are now: a join that ended early has changed the disks. */
  readonly facts: () => Promise<VmFacts>;
  readonly connect: (events: LinkEvents) => Link;
  /** Where the VM is looked for, for messages. */
  readonly where: string;
  /** How long to look for a primary; null: for ever. */
  readonly joinDeadlineMs: number | null;
  /** For the backup that joins a survivor. */
  readonly terms: (welcome: Welcome) => Omit<Terms, 'term'>;
  /** A survivor's new backup may come from now on. */
  readonly listen: () => void;
}

const MEET_RETRY_MS = 200;
/** After a join that came to nothing; twice as long after each whose state was bad. */
const JOIN_AGAIN_MS = 1000;
/** State may be damaged on its way, or on a disk. Three times in a row it is something else. */
const BAD_JOINS_MAX = 3;

export class Follow implements Beginning {
  readonly #o: FollowOptions;
  readonly #self: Self;
  /** The last there was; null before the first welcome. */
  #standBy: StandBy | null = null;
  /** In a row. */
  #badJoins = 0;
  #closed = false;

  constructor(options: FollowOptions, self: Self) {
    this.#o = options;
    this.#self = self;
  }

  async start(): Promise<void> {
    void this.#run();
  }

  facts(): ReplicaFacts {
    return this.#standBy?.facts() ?? NO_FACTS;
  }

  typeConsole(): boolean {
    return false;
  }

  typeGuard(): boolean {
    return false;
  }

  reset(): boolean {
    return false;
  }

  /** A stand-by leaves its primary. */
  stop(): void {
    const outcome: Outcome = { ok: true, code: 'stopped', reason: 'stopped by the operator' };
    if (this.#standBy === null) this.#self.end(outcome);
    else this.#standBy.leave('stop', outcome);
  }

  abort(reason: string, code: 'failure' | 'fenced' = 'failure'): void {
    this.#self.end({ ok: false, code, reason });
  }

  async promote(): Promise<void> {
    const { state, reason } = this.#self.phase;
    if (state !== 'standby' || this.#standBy === null) {
      throw new UnderstudyError(
        'not-running',
        `nothing to take over: the state is ${state} (${reason})`,
      );
    }
    this.#standBy.promote();
  }

  close(): void {
    this.#closed = true;
    this.#standBy?.close();
  }

  async tearDown(): Promise<void> {
    await this.#standBy?.tearDown();
  }

  async #run(): Promise<void> {
    const { phase } = this.#self;
    while (!this.#closed) {
      phase.set('starting', `looking for the primary at ${this.#o.where}`);
      try {
        const isAgain = await this.#followOne();
        this.#badJoins = 0;
        if (isAgain) await sleep(this.#o.clock, JOIN_AGAIN_MS);
      } catch (error) {
        const reason = messageOf(error);
        this.#standBy?.sayGoodbye('failed', reason);
        if (await this.#mayTryAgain(error, reason)) continue;
        const code = error instanceof UnderstudyError ? error.code : 'failure';
        const isPeer = code === 'peer-refused' || code === 'peer-lost';
        this.#self.end({ ok: false, code: isPeer ? code : 'failure', reason, error });
      }
    }
  }

  /** The peer that sent bad state is lost, by name; a while later it is looked for again. */
  async #mayTryAgain(error: unknown, reason: string): Promise<boolean> {
    if (!(error instanceof BadState)) return false;
    this.#badJoins += 1;
    if (this.#badJoins >= BAD_JOINS_MAX) return false;
    this.#standBy?.lookAgain(reason);
    this.#self.phase.set('starting', `looking for the primary again: ${reason}`);
    await sleep(this.#o.clock, JOIN_AGAIN_MS * 2 ** (this.#badJoins - 1));
    return true;
  }

  /** @returns whether a join to a VM that runs came to nothing */
  async #followOne(): Promise<boolean> {
    const o = this.#o;
    const { phase, end } = this.#self;
    const facts = await o.facts();
    const met = await meet({
      ...o,
      facts,
      deadlineMs: o.joinDeadlineMs,
      retryMs: MEET_RETRY_MS,
      waiting: (why) => phase.set('starting', `looking for the primary: ${why}`),
      cancelled: () => this.#closed,
    });
    if (met === null) return false;
    const standBy = new StandBy(o, met, facts.durability === 'disk', {
      phase,
      end,
      live: (now) => this.#goLive(now, facts),
    });
    this.#standBy = standBy;
    await standBy.run();
    return !this.#closed && met.welcome.settings.join === 'running';
  }

  /** Live already: from here on this side leads, alone at first. */
  #goLive({ follower, welcome, term, failover }: WentLive, facts: VmFacts): void {
    this.#closed = true;
    const lead = this.#self.lead({
      vm: follower.vm,
      term,
      log: follower.log,
      facts,
      terms: this.#o.terms(welcome),
      survived: { failover, logBytes: follower.receiving.facts().bytes },
    });
    lead.startAlone(`took over: ${failover.reason}`);
    this.#o.generation.leads(welcome.vmId.toString('hex'), term);
    this.#standBy?.close();
    this.#o.listen();
  }
}
