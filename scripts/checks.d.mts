// SPDX-License-Identifier: Apache-2.0
export interface HostFacts {
  readonly platform: string;
  readonly arch: string;
  readonly os: { readonly id: string; readonly version: string; readonly codename: string };
  readonly node: string;
  readonly isRoot: boolean;
  readonly canMakeNetworks: boolean;
  /** Root has made those of the demo beforehand. */
  readonly hasDemoTaps: boolean;
  readonly hasTun: boolean;
  readonly tun: boolean;
  /** Undefined on a host without dpkg. */
  readonly missingPackages: readonly string[] | undefined;
  /** Version of g++; undefined when there is none. */
  readonly compiler: string | undefined;
  readonly cacheDir: string;
  readonly cacheWritable: boolean;
  readonly freeBytes: number;
  readonly kvm: boolean;
  readonly pmu: boolean;
}

/** What is still to be done; what is done already needs nothing of the host. */
export interface HostWork {
  readonly build?: boolean;
  /** Why the Debian mirror could not be reached. */
  readonly debian?: string | undefined;
  /** Why the npm registry could not be reached. */
  readonly registry?: string | undefined;
  /** Taps and network namespaces are going to be made. */
  readonly demo?: boolean;
}

export interface HostProblem {
  readonly code: string;
  readonly problem: string;
  readonly remedy: string;
}

export const EXIT_HOST: 13;
export function gatherFacts(): HostFacts;
export function judge(facts: HostFacts, work?: HostWork): HostProblem[];
export function describe(problems: readonly HostProblem[]): string;
