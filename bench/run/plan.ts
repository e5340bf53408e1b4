// SPDX-License-Identifier: Apache-2.0
/**
 * What is run, in which order, and how long that takes: round after round, and within a
 * round all systems of one workload after each other, so that a ratio is between
 * neighbours in time.
 */
import { UnderstudyError } from '../../src/base/errors.ts';
import { formatDuration } from '../../src/base/format.ts';
import { nearest } from '../../src/base/nearest.ts';
import type { ExperimentKind } from '../experiments/experiment.ts';
import type { System } from '../systems/system.ts';
import type { Scale, Workload } from '../workloads/workload.ts';

export interface Wanted {
  /** Workloads and experiments. Empty: all of them (with `quick`, a few). */
  readonly names: readonly string[];
  /** Null: all of them (with `quick`, a few). */
  readonly systems: readonly string[] | null;
  readonly quick: boolean;
  /** Null: as many as are the default. */
  readonly rounds: number | null;
}

/** What there is by name. */
export interface Known {
  readonly workloads: readonly Workload[];
  readonly systems: readonly System[];
  readonly experiments: readonly ExperimentKind[];
}

export interface Plan {
  readonly scale: Scale;
  readonly rounds: number;
  readonly workloads: readonly Workload[];
  readonly systems: readonly System[];
  readonly experiments: readonly ExperimentKind[];
  /** Not asked for, but what was asked for needs them. */
  readonly added: readonly string[];
}

/** Why a system cannot run on this host, by system. */
export type Absences = ReadonlyMap<string, string>;

/** Asks each of them. */
export async function absencesOf(systems: readonly System[]): Promise<Absences> {
  const found = new Map<string, string>();
  for (const system of systems) {
    const why = system.notYet ?? (await system.absent());
    if (why !== null) found.set(system.name, why);
  }
  return found;
}

/** All runs of one workload in one round. */
export interface Cell {
  readonly round: number;
  readonly workload: Workload;
  /** Those that can run here and tell something, in their order. */
  readonly systems: readonly System[];
}

export const ROUNDS = { quick: 1, full: 4 } as const;
const QUICK_WORKLOADS = ['netperf', 'iozone', 'cpu', 'boot'];
const QUICK_SYSTEMS = ['plain', 'record', 'replay', 'lockstep'];

/**
 * Wall-clock of a run over that on plain TCG, measured; of a protected one with the replay
 * that verifies it. Twofold where the guest's work takes as long as it takes, and where
 * somebody talks to it for a fixed time.
 */
const FACTORS: Readonly<Record<string, { readonly work: number; readonly served: number }>> = {
  plain: { work: 1, served: 1 },
  icount: { work: 1.8, served: 1.4 },
  'rr-record': { work: 2.2, served: 1.7 },
  'rr-replay': { work: 2.8, served: 2.3 },
  colo: { work: 1.8, served: 2.2 },
  record: { work: 1, served: 1.1 },
  replay: { work: 1, served: 1 },
  // Nothing is replayed to verify them. Variants, `remus-10hz`, have the factors of their protocol.
  remus: { work: 1.4, served: 1.2 },
  kemari: { work: 1.8, served: 1.3 },
  'kemari-every': { work: 3.5, served: 1.7 },
};
const PROTECTED = { work: 2.4, served: 2 };
/** Copies of disks, networks and processes that come and go. */
const OVERHEAD_S = 2;

/**
 * @throws UnderstudyError usage, naming what is nearest to a name that nothing has
 */
export function makePlan(wanted: Wanted, known: Known): Plan {
  const { quick, names } = wanted;
  const scale: Scale = quick ? 'quick' : 'full';
  const whole = [...known.workloads, ...known.experiments];
  const byDefault = quick ? QUICK_WORKLOADS : null;
  const named = choose('workload or experiment', names.length > 0 ? names : byDefault, whole);
  const workloads = known.workloads.filter((one) => named.includes(one));
  const experiments = known.experiments.filter((one) => named.includes(one));
  const asked = wanted.systems ?? (quick ? QUICK_SYSTEMS : null);
  const chosen = choose('system', asked, known.systems);
  const needed = withNeeds(chosen, known.systems);
  return {
    scale,
    rounds: wanted.rounds ?? ROUNDS[scale],
    workloads,
    systems: known.systems.filter(({ name }) => needed.has(name)),
    experiments,
    added: [...needed].filter((name) => !chosen.some((one) => one.name === name)),
  };
}

/** Its baseline, what it replays, what replays it if that verifies it; and what those need. */
function withNeeds(chosen: readonly System[], all: readonly System[]): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (system: System | undefined): void => {
    if (system === undefined || names.has(system.name)) return;
    names.add(system.name);
    visit(all.find(({ name }) => name === system.baseline));
    visit(all.find(({ name }) => name === system.replays));
    if (system.verified) visit(all.find(({ replays }) => replays === system.name));
  };
  for (const system of chosen) visit(system);
  return names;
}

function choose<T extends { readonly name: string }>(
  kind: string,
  names: readonly string[] | null,
  all: readonly T[],
): readonly T[] {
  if (names === null) return all;
  const known = all.map(({ name }) => name);
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new UnderstudyError(
      'usage',
      `there is no ${kind} "${name}"; did you mean "${nearest(name, known)}"? ` +
        `(known: ${known.join(', ')})`,
    );
  }
  return all.filter(({ name }) => names.includes(name));
}

/** In a replay nobody talks to the guest, and it does not wait for anybody's clock. */
export function isMute(system: System, workload: Workload): boolean {
  return workload.served && system.replays !== null;
}

/** In the order in which they are run. */
export function cellsOf(plan: Plan, absent: Absences): Cell[] {
  const able = plan.systems.filter(({ name }) => !absent.has(name));
  // A replay without figures is run only if it verifies what it replays.
  const on = (workload: Workload): System[] =>
    able.filter(
      (system) =>
        (system.verified || !isMute(system, workload)) &&
        (system.only?.workloads.includes(workload.name) ?? true),
    );
  return Array.from({ length: plan.rounds }, (_, round) =>
    plan.workloads.map((workload) => ({ round, workload, systems: on(workload) })),
  ).flat();
}

/** Seconds that one run takes, before any was seen. */
export function estimateS(system: string, workload: Workload, scale: Scale): number {
  const factors = FACTORS[system] ?? FACTORS[system.split('-')[0] ?? ''] ?? PROTECTED;
  const factor = workload.served ? factors.served : factors.work;
  return workload.seconds[scale] * factor + OVERHEAD_S;
}

/** What is left, corrected by what was seen so far. */
export class Estimate {
  readonly #plan: Plan;
  /** By workload and system: seconds of the last run. */
  readonly #seen = new Map<string, number>();
  #seenS = 0;
  #expectedS = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  saw(system: string, workload: Workload, seconds: number): void {
    this.#seen.set(`${workload.name} ${system}`, seconds);
    this.#seenS += seconds;
    this.#expectedS += estimateS(system, workload, this.#plan.scale);
  }

  /** Seconds of one run that is to come. */
  of(system: string, workload: Workload): number {
    const seen = this.#seen.get(`${workload.name} ${system}`);
    if (seen !== undefined) return seen;
    // A host that was slower so far is slower at the rest.
    const pace = this.#expectedS === 0 ? 1 : this.#seenS / this.#expectedS;
    return estimateS(system, workload, this.#plan.scale) * pace;
  }
}

/** What will be done and how long it takes, for people. */
export function planText(plan: Plan, absent: Absences): string {
  const able = plan.systems.filter(({ name }) => !absent.has(name));
  const runs = cellsOf(plan, absent).flatMap(({ workload, systems }) =>
    systems.map(({ name }) => estimateS(name, workload, plan.scale)),
  );
  const runS = runs.reduce((sum, one) => sum + one, 0);
  const experimentS = plan.experiments.reduce((sum, one) => sum + one.seconds[plan.scale], 0);
  const names = (list: readonly { readonly name: string }[]): string =>
    list.length === 0 ? 'none' : list.map(({ name }) => name).join(', ');
  return [
    `workloads    ${names(plan.workloads)}`,
    `systems      ${names(able)}` +
      (plan.added.length === 0 ? '' : ` (${plan.added.join(', ')}: the others need them)`),
    ...[...absent].map(([name, why]) => `  not ${name}: ${why}`),
    `experiments  ${names(plan.experiments)}`,
    `rounds       ${plan.rounds}: ${runs.length} runs, ` +
      `about ${formatDuration((runS + experimentS) * 1000)} in all`,
  ].join('\n');
}
