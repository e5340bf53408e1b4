// SPDX-License-Identifier: Apache-2.0
/** What every kind of arbiter does (src/arbiter/arbiter.ts), as tests. */
import * as assert from 'uvu/assert';
import { type Arbiter, type Claimant, describeHolder } from '../../src/arbiter/arbiter.ts';

export const VM = '00112233445566778899aabbccddeeff';

export function claimant(role: Claimant['role'], instance: string = role): Claimant {
  return { role, name: 'demo', host: 'here', pid: 1, instance };
}

/** @param fresh an arbiter that knows no VM */
export function arbiterContract(
  test: (name: string, run: () => Promise<void>) => void,
  fresh: () => Arbiter,
): void {
  test('the first claim of a term wins, the other side loses and is told to whom', async () => {
    const arbiter = fresh();
    assert.equal(await arbiter.claim(VM, 1, claimant('primary')), { result: 'won', term: 1 });
    assert.equal(await arbiter.claim(VM, 2, claimant('backup')), { result: 'won', term: 2 });
    const lost = await arbiter.claim(VM, 2, claimant('primary'));
    assert.is(lost.result, 'lost');
    if (lost.result === 'lost') {
      assert.match(describeHolder(lost.holder), /^backup demo on here \(process 1\) since 20/);
    }
  });

  test('a repeated claim of the same side is won again', async () => {
    const arbiter = fresh();
    for (let times = 0; times < 3; times += 1) {
      assert.is((await arbiter.claim(VM, 1, claimant('primary'))).result, 'won');
    }
    // Another run of the same daemon is another claimant.
    assert.is((await arbiter.claim(VM, 1, claimant('primary', 'restarted'))).result, 'lost');
  });

  test('a stale term is lost, even to the one who once held it', async () => {
    const arbiter = fresh();
    await arbiter.claim(VM, 1, claimant('primary'));
    await arbiter.claim(VM, 2, claimant('backup'));
    const stale = await arbiter.claim(VM, 1, claimant('primary'));
    assert.is(stale.result, 'lost');
    assert.is(stale.result === 'lost' ? stale.term : 0, 2);
  });

  test('a term cannot be skipped, and one that has lost its records is not free', async () => {
    const arbiter = fresh();
    const claim = await arbiter.claim(VM, 2, claimant('backup'));
    assert.is(claim.result, 'unreachable');
    assert.match(claim.result === 'unreachable' ? claim.reason : '', /not reachable|no record/);
    await arbiter.claim(VM, 1, claimant('primary'));
    assert.is((await arbiter.claim(VM, 3, claimant('backup'))).result, 'unreachable');
  });

  test('who holds a VM can be asked, and which power-on a claim of a name was for', async () => {
    const arbiter = fresh();
    assert.is(await arbiter.holder(VM), null);
    const powerOn = 'ab'.repeat(16);
    await arbiter.claim(VM, 1, { ...claimant('primary'), powerOn });
    const holder = await arbiter.holder(VM);
    assert.ok(holder !== null && 'term' in holder);
    assert.equal([holder.term, holder.role, holder.powerOn], [1, 'primary', powerOn]);
  });

  test('a probe says that a claim could be decided, and changes nothing', async () => {
    const arbiter = fresh();
    assert.is(await arbiter.probe(), null);
    await arbiter.claim(VM, 1, claimant('primary'));
    assert.is(await arbiter.probe(), null);
    assert.is((await arbiter.claim(VM, 2, claimant('backup'))).result, 'won');
  });
}
