// SPDX-License-Identifier: Apache-2.0
/**
 * Claims the next term until the arbiter has decided. While it cannot be
 * reached this side stays as it is: it neither goes on alone nor gives up.
 */
import { type Clock, sleep } from '../base/clock.ts';
import type { Against, Arbiter, Claim, Claimant } from './arbiter.ts';

export interface ClaimOptions {
  readonly arbiter: Arbiter;
  readonly clock: Clock;
  /** 32 hex digits. */
  readonly vmId: string;
  /** The term wanted: our own plus one. */
  readonly term: number;
  readonly claimant: Claimant;
  readonly against: Against;
  /** Called at each failed attempt. */
  readonly unreachable: (reason: string) => void;
  /** True: nobody wants the answer any more. */
  readonly cancelled: () => boolean;
}

const RETRY_MS = 250;

/** @returns the decision, or null when cancelled before there was one */
export async function claimUntilDecided(
  options: ClaimOptions,
): Promise<Exclude<Claim, { result: 'unreachable' }> | null> {
  while (!options.cancelled()) {
    const { vmId, term, claimant, against } = options;
    const claim = await options.arbiter.claim(vmId, term, claimant, against);
    if (claim.result !== 'unreachable') return claim;
    options.unreachable(claim.reason);
    await sleep(options.clock, RETRY_MS);
  }
  return null;
}
