// SPDX-License-Identifier: Apache-2.0
/** All that the harness knows by name, for the command line. */
import type { BenchmarkEntry } from '../../src/catalog/benchmarks.ts';
import { EXPERIMENTS } from '../experiments/registry.ts';
import { allSystems } from '../systems/registry.ts';
import { WORKLOADS } from '../workloads/registry.ts';
import { keptResults } from './kept.ts';
import { absencesOf, makePlan, type Plan, type Wanted } from './plan.ts';

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
    /** Why it cannot run here; null: it can. */
    readonly absent: string | null;
  }[];
  readonly experiments: readonly { readonly name: string; readonly title: string }[];
  readonly kept: readonly BenchmarkEntry[];
}

export async function listing(): Promise<Listing> {
  const facts = ({ name, title }: { readonly name: string; readonly title: string }) => ({
    name,
    title,
  });
  const systems = allSystems();
  const absent = await absencesOf(systems);
  return {
    workloads: WORKLOADS.map(facts),
    systems: systems.map((one) => ({ ...facts(one), absent: absent.get(one.name) ?? null })),
    experiments: EXPERIMENTS.map(facts),
    kept: keptResults(),
  };
}
