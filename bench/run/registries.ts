// SPDX-License-Identifier: Apache-2.0
/** All that the harness knows by name, for the command line. */
import type { BenchmarkEntry } from '../../src/catalog/benchmarks.ts';
import { EXPERIMENTS } from '../experiments/registry.ts';
import { allSystems } from '../systems/registry.ts';
import { WORKLOADS } from '../workloads/registry.ts';
import { keptResults } from './kept.ts';
import { makePlan, type Plan, type Wanted } from './plan.ts';

/** @throws UnderstudyError usage */
export function planOf(wanted: Wanted): Plan {
  return makePlan(wanted, {
    workloads: WORKLOADS,
    systems: allSystems(),
    experiments: EXPERIMENTS,
  });
}

export interface Listing {
  readonly workloads: readonly { readonly name: string; readonly title: string }[];
  readonly systems: readonly {
    readonly name: string;
    readonly title: string;
    /** Why this version does not have it; null: it does, though this host may lack something. */
    readonly notYet: string | null;
  }[];
  readonly experiments: readonly { readonly name: string; readonly title: string }[];
  readonly kept: readonly BenchmarkEntry[];
}

/** Asks nothing of the host: what a system lacks there is found when it is to be measured. */
export function listing(): Listing {
  const facts = ({ name, title }: { readonly name: string; readonly title: string }) => ({
    name,
    title,
  });
  return {
    workloads: WORKLOADS.map(facts),
    systems: allSystems().map((one) => ({ ...facts(one), notYet: one.notYet ?? null })),
    experiments: EXPERIMENTS.map(facts),
    kept: keptResults(),
  };
}
