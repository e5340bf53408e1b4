// SPDX-License-Identifier: Apache-2.0
/**
 * Races for terms at a real etcd while something happens to its members. It makes a network, so
 * it runs as a program, in a namespace of its own:
 *
 *   unshare --net node --import tsx test/lib/claim-races.ts --count N --seed N --dir DIR
 *
 * Prints one JSON object: RaceResults.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Arbiter,
  type Claim,
  type Claimant,
  type Holder,
  NO_ACCESS,
} from '../../src/arbiter/arbiter.ts';
import { etcdArbiter } from '../../src/arbiter/etcd.ts';
import { Random } from '../simulation/random.ts';
import { EtcdCluster } from './etcd-cluster.ts';

/** What happens to how many members. */
const FAULTS = {
  none: { members: 0, begin: () => {}, end: () => {} },
  'one killed': {
    members: 1,
    begin: (cluster, index) => cluster.kill(index),
    end: (cluster, index) => cluster.run(index),
  },
  'one paused': {
    members: 1,
    begin: (cluster, index) => cluster.pause(index),
    end: (cluster, index) => cluster.resume(index),
  },
  'one cut off': {
    members: 1,
    begin: (cluster, index) => cluster.cut(index),
    end: (cluster, index) => cluster.mend(index),
  },
  'two killed': {
    members: 2,
    begin: (cluster, index) => cluster.kill(index),
    end: (cluster, index) => cluster.run(index),
  },
  'two paused': {
    members: 2,
    begin: (cluster, index) => cluster.pause(index),
    end: (cluster, index) => cluster.resume(index),
  },
  'two cut off': {
    members: 2,
    begin: (cluster, index) => cluster.cut(index),
    end: (cluster, index) => cluster.mend(index),
  },
} as const satisfies Record<
  string,
  {
    readonly members: number;
    readonly begin: (cluster: EtcdCluster, index: number) => void | Promise<void>;
    readonly end: (cluster: EtcdCluster, index: number) => void;
  }
>;

type Fault = keyof typeof FAULTS;

export interface RaceResults {
  readonly races: number;
  readonly byFault: Readonly<Record<string, FaultResults>>;
  readonly problems: readonly string[];
}

interface FaultResults {
  races: number;
  /** Longest until the first claimant knew that it had won, ms. */
  wonMsMax: number;
  /** Answers that decided nothing. */
  undecided: number;
  /** One of them. */
  said: string;
}

const VM = 'c1a1'.repeat(8);
const CLAIMANTS = 4;
const RETRY_MS = 50;
const DECIDED_MS_MAX = 120_000;
/** When claimants begin, and when a member fails, at most. */
const START_MS_MAX = 15;
const FAULT_MS_MAX = 15;
/** How long nobody may win while there is no majority, at most: longer than an arbiter is waited for. */
const HELD_MS_MAX = 3000;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

class Racer {
  readonly #arbiter: Arbiter;
  readonly #claimant: Claimant;
  won = false;

  constructor(urls: string, name: string) {
    this.#arbiter = etcdArbiter(urls, NO_ACCESS);
    this.#claimant = { role: 'backup', name, host: name, pid: process.pid, instance: name };
  }

  async run(
    term: number,
    results: FaultResults,
  ): Promise<Exclude<Claim, { result: 'unreachable' }>> {
    const fromMs = performance.now();
    for (;;) {
      const claim = await this.claim(term);
      if (claim.result !== 'unreachable') {
        if (claim.result === 'won') {
          this.won = true;
          results.wonMsMax = Math.max(results.wonMsMax, Math.round(performance.now() - fromMs));
        }
        return claim;
      }
      results.undecided += 1;
      results.said = claim.reason;
      if (performance.now() - fromMs > DECIDED_MS_MAX) throw new Error(claim.reason);
      await sleep(RETRY_MS);
    }
  }

  claim(term: number): Promise<Claim> {
    return this.#arbiter.claim(VM, term, this.#claimant);
  }

  get name(): string {
    return this.#claimant.name;
  }

  /** No answer, while there is no leader, is none. */
  async holder(): Promise<Holder | null> {
    const untilMs = performance.now() + DECIDED_MS_MAX;
    for (;;) {
      const holder = await this.#arbiter.holder(VM);
      if (holder === null || !('unreachable' in holder)) return holder;
      if (performance.now() > untilMs) throw new Error(holder.unreachable);
      await sleep(RETRY_MS);
    }
  }
}

class Races {
  readonly #cluster: EtcdCluster;
  readonly #random: Random;
  readonly #racers: readonly Racer[];
  readonly #byFault: Record<string, FaultResults> = {};
  readonly problems: string[] = [];

  constructor(cluster: EtcdCluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
    this.#racers = Array.from({ length: CLAIMANTS }, (_, i) => new Racer(cluster.urls, `r${i}`));
  }

  get byFault(): RaceResults['byFault'] {
    return this.#byFault;
  }

  /** One term. */
  async race(term: number, fault: Fault): Promise<void> {
    const results = this.#byFault[fault] ?? { races: 0, wonMsMax: 0, undecided: 0, said: '' };
    this.#byFault[fault] = results;
    results.races += 1;
    const { members, begin, end } = FAULTS[fault];
    const first = Math.floor(this.#random.next() * 3);
    const hit = Array.from({ length: members }, (_, i) => (first + i) % 3);
    const beginAll = async (): Promise<void> => {
      for (const index of hit) await begin(this.#cluster, index);
    };
    const endAll = (): void => {
      for (const index of hit) end(this.#cluster, index);
    };
    for (const racer of this.#racers) racer.won = false;
    if (members > 1) {
      await beginAll();
      const claims = this.#claims(term, results);
      await sleep(this.#random.next() * HELD_MS_MAX);
      const winner = this.#racers.find(({ won }) => won);
      if (winner !== undefined) this.#problem(term, fault, `${winner.name} won without a majority`);
      endAll();
      await this.#check(term, fault, await claims);
    } else {
      const claims = this.#claims(term, results);
      await sleep(this.#random.next() * FAULT_MS_MAX);
      await beginAll();
      await this.#check(term, fault, await claims);
      endAll();
    }
    if (members > 0) await this.#cluster.well();
  }

  #claims(term: number, results: FaultResults): Promise<Claim[]> {
    const all = this.#racers.map(async (racer) => {
      await sleep(this.#random.next() * START_MS_MAX);
      return racer.run(term, results);
    });
    return Promise.all(all);
  }

  async #check(term: number, fault: Fault, claims: readonly Claim[]): Promise<void> {
    const winners = this.#racers.filter((_, index) => claims[index]?.result === 'won');
    if (winners.length !== 1) {
      this.#problem(term, fault, `${winners.length} winners: ${JSON.stringify(claims)}`);
      return;
    }
    const [winner] = winners;
    for (const claim of claims) {
      if (claim.result === 'lost' && claim.holder?.instance !== winner?.name) {
        this.#problem(term, fault, `the loser was told ${JSON.stringify(claim)}`);
      }
    }
    const holder = await this.#racers[0]?.holder();
    if (holder?.instance !== winner?.name || holder?.term !== term) {
      this.#problem(term, fault, `${winner?.name} won, and ${JSON.stringify(holder)} holds it`);
    }
  }

  #problem(term: number, fault: Fault, what: string): void {
    this.problems.push(`term ${term}, ${fault}: ${what}`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '30' },
      seed: { type: 'string', default: '1' },
      dir: { type: 'string', default: '' },
    },
  });
  const random = new Random(Number(values.seed));
  const count = Number(values.count);
  const cluster = await EtcdCluster.start({ dir: join(values.dir, 'etcd'), hosts: true });
  const races = new Races(cluster, random);
  const faults = Object.keys(FAULTS) as Fault[];
  let term = 1;
  let isStopped = false;
  process.on('SIGINT', () => {
    isStopped = true; // what was raced until now is told
  });
  try {
    for (; term <= count && !isStopped; term += 1) {
      await races.race(term, faults[(term - 1) % faults.length] ?? 'none');
      if (term % 10 === 0) {
        process.stderr.write(`${term} of ${count}, ${races.problems.length} problems\n`);
      }
    }
  } finally {
    await cluster.remove();
  }
  const { byFault, problems } = races;
  const results: RaceResults = { races: term - 1, byFault, problems };
  process.stdout.write(`${JSON.stringify(results)}\n`);
  process.exit(problems.length === 0 ? 0 : 1);
}

await main();
