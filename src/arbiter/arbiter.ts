// SPDX-License-Identifier: Apache-2.0
/**
 * The fence: the atomic test-and-set that lets exactly one side be primary.
 *
 * Terms of a VM only grow. A term has one holder for ever. Before a side runs
 * alone it must claim the next term, and of all claims of one term exactly one
 * is won; a side may repeat its own claim (after a time-out, say) and is told
 * again that it won.
 *
 * No answer is not an answer: while the arbiter is unreachable a claim is
 * neither won nor lost, and nobody goes on alone.
 */

export interface Claimant {
  readonly role: 'primary' | 'backup' | 'replica';
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  /** One per daemon run: what makes a repeated claim the same claim. */
  readonly instance: string;
  /** In a claim of a VM's name (newest.ts): the power-on that it is for. */
  readonly powerOn?: string;
}

export interface Holder extends Claimant {
  readonly term: number;
  readonly claimedAt: string;
}

export type Claim =
  | { readonly result: 'won'; readonly term: number }
  | { readonly result: 'lost'; readonly term: number; readonly holder: Holder | null }
  | { readonly result: 'unreachable'; readonly reason: string };

/** The side that a claim is to keep out, as far as the claimant knows it. */
export interface Against {
  /** Address and port. */
  readonly peer: string;
  /** How it was lost. */
  readonly reason: string;
  /** By its own word: it stops, or hands over. */
  readonly leaves: boolean;
}

export interface Arbiter {
  /** For messages: "dir:/shared/demo". */
  readonly name: string;
  /** False: there is none to agree on, and nobody ever goes on alone. */
  readonly shared: boolean;
  /**
   * Claims `term` of a VM. Never throws.
   * @param vmId 32 hex digits
   * @param term 1 at power-on; else the claimant's own term plus one
   * @param against in a failover
   */
  claim(vmId: string, term: number, claimant: Claimant, against?: Against): Promise<Claim>;
  /** Who holds the highest term; null when the arbiter knows no such VM. */
  holder(vmId: string): Promise<Holder | null | { readonly unreachable: string }>;
  /**
   * Whether a claim could be decided now. It does what a claim does as far as that changes
   * nothing. Never throws.
   * @returns why not, or null
   */
  probe(): Promise<string | null>;
}

/** What an arbiter beyond this machine is reached with: `[replication.etcd]` of VM.toml. */
export interface ArbiterAccess {
  /** Absolute paths of PEM files; null: the system's authorities, no certificate of our own. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly user: string | null;
  /** Absolute path of a file with the user's password. */
  readonly passwordFile: string | null;
  /** What the names of all keys begin with. */
  readonly prefix: string;
  /** Plain HTTP is allowed beyond this host. */
  readonly insecurePlaintext: boolean;
}

export const NO_ACCESS: ArbiterAccess = {
  ca: null,
  cert: null,
  key: null,
  user: null,
  passwordFile: null,
  prefix: '/understudy/',
  insecurePlaintext: false,
};

/** A kind of arbiter: a file in this folder, and a line in kinds.ts. */
export interface ArbiterKind {
  /** How VM.toml writes it, for messages: "dir:PATH". */
  readonly form: string;
  /** Why it is not the part of a URL after "kind:", or null. */
  wrong(rest: string, access: ArbiterAccess): string | null;
  /**
   * The part of the URL after "kind:", as VM.toml has it, made independent of that file.
   * @param absolute makes a path that is relative to VM.toml's folder absolute
   */
  resolve(rest: string, absolute: (path: string) => string): string;
  /** @param rest as `resolve` returned it */
  open(rest: string, access: ArbiterAccess): Arbiter;
}

/** "backup demo on hostB (process 12) since 2026-…", for messages. */
export function describeHolder(holder: Holder | null): string {
  if (holder === null) return 'nobody';
  return `${holder.role} ${holder.name} on ${holder.host} (process ${holder.pid}) since ${holder.claimedAt}`;
}
