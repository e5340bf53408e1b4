// SPDX-License-Identifier: Apache-2.0
/** A limit by size: when a full checkpoint is made, what goes, how a guest is slowed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { Keeper, type Kept, type KeptView, type RecordedVm } from '../../src/retain/keeper.ts';
import {
  type SizedGeneration,
  SpacePolicy,
  type SpaceView,
  spaceWarning,
} from '../../src/retain/space.ts';
import { SpacePace } from '../../src/retain/space-pace.ts';
import { Holds } from '../../src/vm/holds.ts';

const MB = 1e6;
const LIMITS = {
  bytes: 1000 * MB,
  memoryBytes: 200 * MB,
  diskBytes: 0,
  chainMax: 30,
  everyMs: 10_000,
};

function generation(full: bigint, logMb: number, ...incremental: number[]): SizedGeneration {
  const sum = incremental.reduce((total, mb) => total + mb, 100);
  return {
    full: atIcount(full),
    createdMs: Number(full),
    checkpoints: 1 + incremental.length,
    bytes: (sum + logMb) * MB,
    fullBytes: 100 * MB,
    ramBytes: sum * MB,
    diskBytes: 0,
    incremental: incremental.map((mb) => mb * MB),
  };
}

function view(generations: readonly SizedGeneration[], more: Partial<SpaceView> = {}): SpaceView {
  return { generations, partialBytes: 0, looseBytes: 0, failures: 0, isFullDue: false, ...more };
}

test('a generation ends when it takes an eighth and as much as a full one', () => {
  const policy = new SpacePolicy(LIMITS);
  assert.is(policy.decide(view([generation(1n, 150)]), 0, 5000).full, false);
  assert.is(policy.decide(view([generation(1n, 210)]), 0, 5000).full, true);
  assert.is(policy.decide(view([generation(1n, 220)]), 0, 5000).full, false, 'asked already');
  assert.is(policy.decide(view([generation(2n, 210)]), 0, 9000).full, true, 'of the next one');
});

test('one that failed is asked for again, later and later', () => {
  const policy = new SpacePolicy(LIMITS);
  const at = (failures: number, nowMs: number): boolean =>
    policy.decide(view([generation(1n, 300)], { failures }), 0, nowMs).full;
  assert.is(at(0, 0), true);
  assert.is(at(1, 1000), false);
  assert.is(at(1, 2000), true);
  assert.is(at(2, 4000), false);
  assert.is(at(2, 6000), true);
});

test('the oldest go while there is room for the next full one, and no more than need be', () => {
  const policy = new SpacePolicy(LIMITS);
  const all = [generation(1n, 100), generation(2n, 100), generation(3n, 100)];
  assert.is(policy.decide(view(all), 0, 0).gone, 0);
  assert.is(policy.decide(view([...all, generation(4n, 50)]), 0, 0).gone, 1);
  assert.is(policy.decide(view([...all, generation(4n, 50)]), 2, 0).gone, 2, 'for another reason');
  assert.is(policy.decide(view([generation(5n, 5000)]), 0, 0).gone, 0, 'the newest stays');
});

test('no full one is asked for before the room for it is there', () => {
  const policy = new SpacePolicy(LIMITS);
  const two = [generation(1n, 300), generation(2n, 300)];
  assert.equal(policy.decide(view(two), 0, 0).full, false);
  assert.equal(policy.decide(view(two), 0, 0).gone, 1);
  assert.equal(policy.decide(view(two.slice(1)), 0, 0).full, true);
  const stuck = new SpacePolicy(LIMITS).decide(view(two), 0, 0, true);
  assert.equal(stuck.full, true, 'where nothing can go without it');
  assert.is(stuck.room, Number.POSITIVE_INFINITY, 'and nobody waits for it');
});

test('incremental ones go where a full one would not find room', () => {
  const policy = new SpacePolicy(LIMITS);
  const large = [generation(1n, 200, 20, 300, 200)];
  assert.equal(policy.decide(view(large), 0, 0).dropped, 0, 'it is only asked for');
  const { dropped } = policy.decide(view(large, { isFullDue: true }), 0, 1000);
  assert.is(dropped, 1, 'the newest');
});

test('a limit into which two full ones do not fit is raised, and it is said', () => {
  const { needed } = new SpacePolicy({ ...LIMITS, bytes: 150 * MB }).decide(
    view([generation(1n, 10)]),
    0,
    0,
  );
  assert.ok(needed !== null && needed > 200 * MB && needed < 300 * MB, `${needed}`);
  assert.match(spaceWarning(1e9, 512 * 2 ** 20) ?? '', /537 MB, its memory.*Give it 1\.24 GB/s);
  assert.is(spaceWarning(1e9, 256 * 2 ** 20), null);
  assert.is(spaceWarning(null, 2 ** 40), null);
});

test('a guest is slowed the more the less room there is, and never stops', () => {
  const pace = new SpacePace();
  const bound = (nowMs: number, icount: number, logMb: number): bigint | null => {
    const found = pace.bound({ nowMs, point: atIcount(BigInt(icount)), logBytes: logMb * MB });
    return found === null ? null : icountOf(found);
  };
  assert.is(bound(0, 0, 0), null, 'nothing is known yet');
  pace.set(100 * MB, 50 * MB, 0);
  assert.is(bound(100, 20e6, 20), null);
  // 1 byte per instruction; 40 MB are left: in 100 ms a twentieth of it.
  assert.is(bound(200, 60e6, 60), 62_000_000n);
  assert.is(bound(300, 62e6, 62), 63_900_000n);
  assert.is(bound(400, 100e6, 100), 100_020_000n, 'nothing is left');
  pace.set(100 * MB, 50 * MB, 100 * MB);
  assert.is(bound(500, 100.02e6, 100), null, 'something has gone');
});

/** Nothing but the numbers of the last look. */
class Folder implements Kept {
  asked: number[] = [];
  readonly #generations: SizedGeneration[];
  readonly #damaged: readonly number[];

  constructor(generations: SizedGeneration[], damaged: readonly number[]) {
    this.#generations = generations;
    this.#damaged = damaged;
  }

  async view(): Promise<KeptView> {
    return { generations: this.#generations, partialBytes: 0, looseBytes: 0 };
  }

  async forgetOldest(count: number): Promise<string | null> {
    this.asked.push(count);
    return this.#damaged.includes(count) ? `${count} is damaged` : null;
  }

  async forgetNewest(): Promise<void> {}
}

test('where the next full checkpoint is damaged, the one after it is the next', async () => {
  const all = [1n, 2n, 3n, 4n].map((full) => generation(full, 150));
  const told: string[] = [];
  const facts = { point: atIcount(0n), logBytes: 0, checkpoints: 4, failures: 0, isFullDue: false };
  let full = 0;
  const vm: RecordedVm = {
    facts: () => facts,
    requestFull: () => {
      full += 1;
    },
    holds: new Holds(() => {}),
  };
  const limits = { count: null, ageMs: null, bytes: LIMITS.bytes };
  for (const [damaged, asked] of [
    [[], [2]],
    [[2], [2, 3]],
    [
      [2, 3],
      [2, 3, 2, 3],
    ],
  ] as const) {
    const kept = new Folder(all, damaged);
    const onWarning = (text: string): void => {
      told.push(text);
    };
    const keeper = new Keeper({ limits, space: LIMITS, kept, vm, onWarning });
    for (const nowMs of damaged.length === 2 ? [0, 1000] : [0]) {
      keeper.look(nowMs);
      await keeper.settled();
    }
    assert.equal(kept.asked, asked);
  }
  assert.equal(told, ['2 is damaged', '2 is damaged', '3 is damaged']);
  assert.is(full, 0, 'the newest is far from its end');
});

test.run();
