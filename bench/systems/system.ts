// SPDX-License-Identifier: Apache-2.0
/**
 * What a system under comparison is: something that runs the same VM as all others.
 * `registry.ts` has them by name; a new one is a module that exports a `System`.
 */
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import type { SystemFacts, Verification } from '../results.ts';

/** One VM, as every system gets it. */
export interface VmSpec {
  /** Words for the guest's init on the kernel's command line. */
  readonly words: string;
  readonly initrd: string;
  /** The disk at power-on; each side gets a copy. */
  readonly disk: string;
  readonly memory?: string;
  readonly vcpus?: number;
  /** Default: VM.toml's. */
  readonly accel?: string;
}

/** The guest as somebody beside it sees it. */
export interface Guest {
  /** Words that run a command beside the guest. */
  readonly prefix: readonly string[];
  readonly guestAddress: string;
  /** Until the console has said this; host ms of it, on `performance.now()`'s scale. */
  said(text: string): Promise<number>;
  /** Until the VM has ended by itself, all sides of it. */
  readonly ended: Promise<void>;
}

/** One VM, from its start until it has powered off. */
export interface RunningVm extends Guest {
  /** On `performance.now()`'s scale: when its first process was started. */
  readonly startedMs: number;
  /** Everything on the guest's console so far. */
  console(): string;
  /** Its processes that have no parent of its own. */
  pids(): readonly number[];
  /** Status of a protected VM's daemon; null: it does not answer. */
  status?(role: 'primary' | 'backup'): Promise<DaemonStatus | null>;
  /** Bytes on that link so far, both directions together; null: it is gone. */
  linkBytes?(): number | null;
  /** What a recorder is given to type, and told to stop. */
  type?(text: string): Promise<void>;
  stop?(): void;
  /** Ends it and takes its network away; idempotent. `dir` stays. */
  close(): Promise<void>;
}

/** What is known of a run when it is over. */
export interface Harvest {
  readonly facts: Readonly<Record<string, number>>;
  /** Null: the system is not one that is verified. */
  readonly verification: Omit<Verification, 'baseline'> | null;
  /** Why the run counts for nothing all the same; null: it counts. */
  readonly problem: string | null;
}

export interface System extends SystemFacts {
  /** It runs what another system left in the same round, in the folder beside its own. */
  readonly replays: string | null;
  /** Workloads on which alone it is run, and why; of all, when it is not there. */
  readonly only?: { readonly workloads: readonly string[]; readonly why: string };
  /** Why this version does not have it, where that is known without asking. */
  readonly notYet?: string;
  /** Why it cannot run on this host, found by asking, which may build a QEMU; null: it can. */
  absent(): Promise<string | null>;
  /** @param dir an empty folder for images, logs and recordings; beside it those of this round */
  start(dir: string, spec: VmSpec): Promise<RunningVm>;
  /** The VM has ended; its files are all there. */
  harvest(dir: string): Promise<Harvest>;
}

export const NOTHING: Harvest = { facts: {}, verification: null, problem: null };
