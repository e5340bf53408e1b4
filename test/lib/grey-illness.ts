// SPDX-License-Identifier: Apache-2.0
/** What a host, or the arbiter, may be sick of, and what is right then. */
import type { ClientResult } from '../../src/lab/client-events.ts';
import type { DiskVerdict } from '../../src/lab/survivor-disk.ts';
import { type Host, other } from './two-hosts.ts';

/**
 * What is sick: the log's disk, the image's, both (in the kernel, which no signal ends), JavaScript's
 * thread, the courier's, or the arbiter.
 */
export const ILLNESSES = [
  'log frozen',
  'log slow',
  'log full',
  'log failing',
  'image frozen',
  'image slow',
  'image full',
  'image failing',
  'disks frozen',
  'JavaScript stopped',
  'courier stopped',
  'arbiter hung',
  'arbiter gone',
  'arbiter read-only',
] as const;
export type Illness = (typeof ILLNESSES)[number];
export type ArbiterIllness = Extract<Illness, `arbiter ${string}`>;

/** Nobody is sick himself: a host dies beside it. */
export const isOfArbiter = (illness: Illness): illness is ArbiterIllness =>
  illness.startsWith('arbiter');

export interface GreyResult {
  /** The longest time without an answer; under a sick arbiter but for the time when it was held. */
  readonly stallMs: number;
  /** Who serves; null: nobody does. */
  readonly serves: Host | null;
  /** The other side had the VM and let nothing out. */
  readonly held: boolean;
  /** What `status` of the side that is well says of it, before anything is well again. */
  readonly status: string;
  /** All that both sides say of themselves. */
  readonly says: string;
  readonly client: ClientResult;
  readonly disk: DiskVerdict;
}

const NAMED: Readonly<Record<string, RegExp>> = {
  log: /log-failed|disk-stuck: a (write|sync|read)|log cannot be stored/,
  image: /disk0 \(/,
  disks: /disk-stuck|disk0 \(/,
  JavaScript: /no sign of life|control-stuck|control is silent/,
  courier: /no sign of life|courier-stuck/,
  arbiter: /"arbiter_problem":"the arbiter .*(hangs|did not answer|no record|read-only)/,
};
const SERVES_WITHIN_MS = 3000;

/** What is wrong with it, or ''. */
export function faultOf(
  o: { readonly illness: Illness; readonly sick: Host; readonly holds?: boolean },
  result: GreyResult,
): string {
  const { serves, held, stallMs, client, disk, status, says } = result;
  const named = NAMED[o.illness.split(' ')[0] ?? ''] ?? /^$/;
  const mayHold = o.holds === true || isOfArbiter(o.illness);
  const { answered, duplicated } = client;
  const faults = [
    serves === other(o.sick) ? '' : `${serves ?? 'nobody'} serves`,
    held === mayHold ? '' : 'outputs were not held',
    o.holds === true || stallMs <= SERVES_WITHIN_MS
      ? ''
      : `no answer for ${Math.round(stallMs)} ms`,
    client.corrupted + client.broken + client.unanswered + duplicated === 0
      ? ''
      : `${client.unanswered} without an answer, ${client.corrupted} wrong, ${duplicated} twice, ${client.broken} broken`,
    answered > 0 ? '' : 'nothing was answered',
    disk.problem,
    named.test(status) ? '' : `status does not say why: ${status}`,
  ].filter((fault) => fault !== '');
  return faults.length === 0 ? '' : `${faults.join('; ')}\n${says}`;
}
