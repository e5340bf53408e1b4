// SPDX-License-Identifier: Apache-2.0
/** A survivor that has gone live: it leads, alone at first, and takes a new backup. */

import type { Arbiter, Claimant } from '../arbiter/arbiter.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import type { Terms, VmFacts } from '../wire/hello.ts';
import type { Welcome } from '../wire/messages.ts';
import { Greeter } from './greet.ts';
import { Lead } from './lead.ts';
import type { Outcome, Phase } from './phase.ts';
import type { BatchLog, Report } from './ports.ts';
import type { Standby } from './standby.ts';

export interface LiveOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly console: (bytes: Buffer) => void;
  /**
   * The log of what a survivor does after going live: a log of its own, from 0.
   * @throws UnderstudyError disk-full, log-write
   */
  readonly openLiveLog: (welcome: Welcome, term: number) => BatchLog;
  /** For the backup that joins it. */
  readonly terms: (welcome: Welcome) => Omit<Terms, 'term'>;
  readonly protocol: Protocol;
  /** A new backup may come from now on. */
  readonly listen: (meet: (connect: (events: LinkEvents) => Link) => void) => void;
}

export interface LiveNow {
  readonly run: Standby;
  readonly term: number;
  readonly facts: VmFacts;
  readonly phase: Phase;
  /** For people: why it took over. */
  readonly reason: string;
  readonly ended: (outcome: Outcome) => void;
}

export class Live {
  readonly lead: Lead;
  /** Null: there can be none, and a survivor lives on without. */
  readonly log: BatchLog | null;
  lastRefused: string | null = null;
  readonly #greeter: Greeter;

  constructor(o: LiveOptions, { run, term, facts, phase, reason, ended }: LiveNow) {
    const { vm, welcome } = run;
    const { log, failed } = openLog(o, welcome, term);
    this.log = log;
    const { clock, report } = o;
    const lead = new Lead({ ...o, facts, terms: o.terms(welcome), phase, vm, term, log, ended });
    this.lead = lead;
    lead.startAlone(`took over: ${reason}${failed}`);
    this.#greeter = new Greeter({
      clock,
      judge: (hello) => lead.judge(hello),
      accepted: (session, hello) => lead.admit(session, hello),
      turnedAway: (remote, code, why) => {
        this.lastRefused = `${remote}: ${code}: ${why}`;
        report('peer-refused', { remote, code, reason: why });
      },
    });
    o.listen((connect) => this.#greeter.meet(connect));
  }

  close(): void {
    this.#greeter.close();
  }
}

function openLog(o: LiveOptions, welcome: Welcome, term: number) {
  try {
    return { log: o.openLiveLog(welcome, term), failed: '' };
  } catch (error) {
    return { log: null, failed: `; the log ended: ${messageOf(error)}` };
  }
}
