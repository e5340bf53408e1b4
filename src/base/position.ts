// SPDX-License-Identifier: Apache-2.0
/**
 * Where in the guest's execution.
 *
 * Both parts together order everything that happens. Where instructions are what is meant
 * (bounds of the vCPU, names of checkpoints) the code carries `icount` alone; that much of it
 * knows that a position is an instruction count, which it will not be under KVM.
 */
export interface Position {
  /** Instructions retired since power-on. */
  readonly icount: bigint;
  /** The guest's virtual time; breaks ties, since an idle guest retires nothing. */
  readonly vtimeNs: bigint;
}

export const POWER_ON: Position = { icount: 0n, vtimeNs: 0n };

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  if (a.icount !== b.icount) return a.icount < b.icount ? -1 : 1;
  if (a.vtimeNs !== b.vtimeNs) return a.vtimeNs < b.vtimeNs ? -1 : 1;
  return 0;
}

/** For people: `icount 1,234,567 at 2.469134 s`. */
export function formatPosition(position: Position): string {
  const icount = position.icount.toLocaleString('en-US');
  return `icount ${icount} at ${(Number(position.vtimeNs) / 1e9).toFixed(6)} s`;
}
