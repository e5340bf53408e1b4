// SPDX-License-Identifier: Apache-2.0
/** A side that is sick gives the other one the time to take the VM. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Arbiter, Claim } from '../../src/arbiter/arbiter.ts';
import { claimUnlessSick } from '../../src/replica/sickness.ts';

/** A clock that passes as fast as it is waited for, and what is asked of an arbiter. */
function stage(holderTerm: (nowMs: number) => number) {
  let nowMs = 0;
  const asked: string[] = [];
  const claimant = { role: 'primary', name: 'vm', host: 'h', pid: 1, instance: 'i' } as const;
  const arbiter: Arbiter = {
    name: 'test',
    shared: true,
    claim: async (_vmId, term): Promise<Claim> => {
      asked.push(`claim ${term} at ${nowMs}`);
      return { result: 'won', term };
    },
    holder: async () => ({ ...claimant, term: holderTerm(nowMs), claimedAt: '' }),
    probe: async () => null,
  };
  const clock = {
    nowMs: () => nowMs,
    realtimeNs: () => 0n,
    after: (ms: number, run: () => void) => {
      nowMs += ms;
      queueMicrotask(run);
      return { cancel: () => {} };
    },
  };
  const claim = (sick: (nowMs: number) => string | null) =>
    claimUnlessSick({
      arbiter,
      clock,
      vmId: '00',
      term: 2,
      claimant,
      against: { peer: 'p', reason: 'r', leaves: false },
      unreachable: () => {},
      cancelled: () => false,
      sick: () => sick(nowMs),
    });
  return { asked, claim };
}

test('one that is well claims at once', async () => {
  const { asked, claim } = stage(() => 1);
  await claim(() => null);
  assert.equal(asked, ['claim 2 at 0']);
});

test('one that is sick: when the other has the VM, or would not for five seconds', async () => {
  const taken = stage((nowMs) => (nowMs >= 300 ? 2 : 1));
  await taken.claim(() => 'its disk');
  assert.equal(taken.asked, ['claim 2 at 300']);
  const left = stage(() => 1);
  await left.claim(() => 'its disk');
  assert.equal(left.asked, ['claim 2 at 5000']);
});

test('one that is well again', async () => {
  const { asked, claim } = stage(() => 1);
  await claim((nowMs) => (nowMs < 1000 ? 'its disk' : null));
  assert.equal(asked, ['claim 2 at 1000']);
});

test.run();
