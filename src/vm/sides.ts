// SPDX-License-Identifier: Apache-2.0
/**
 * The two sides of a VM: which address of [replication] a host has. That stays through
 * take-overs, whoever leads.
 */
export const SIDES = ['primary', 'backup'] as const;
export type Side = (typeof SIDES)[number];

export const otherSide = (side: Side): Side => (side === 'primary' ? 'backup' : 'primary');

/** Whom a certificate can be of: a side, or any of a VM's replicas, which trust each other alike. */
export const HOLDERS = [...SIDES, 'replica'] as const;
export type Holder = (typeof HOLDERS)[number];

/** The name of a VM's side in a certificate (subjectAltName, URI). */
export function sideName(vm: string, side: Holder): string {
  return `understudy://vm/${vm}/${side}`;
}
