// SPDX-License-Identifier: Apache-2.0
import type { Arbiter } from './arbiter.ts';

/** For a pair without an arbiter: nobody ever goes on alone. */
export function noArbiter(): Arbiter {
  const reason = 'no arbiter is configured: set replication.arbiter in VM.toml';
  return {
    name: 'none',
    shared: false,
    claim: (_vmId, term) =>
      Promise.resolve(term === 1 ? { result: 'won', term } : { result: 'unreachable', reason }),
    holder: () => Promise.resolve({ unreachable: reason }),
    probe: () => Promise.resolve(reason),
  };
}
