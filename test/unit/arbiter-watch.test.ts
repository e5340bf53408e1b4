// SPDX-License-Identifier: Apache-2.0
/** What a daemon makes of its arbiter's answers while all is well. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Arbiter, Holder } from '../../src/arbiter/arbiter.ts';
import { ArbiterWatch } from '../../src/daemon/arbiter-watch.ts';
import type { StateFacts } from '../../src/replica/ports.ts';

const VM = 'ab'.repeat(16);
const watching = suite('watch of the arbiter');

/** An arbiter that answers at once, and a clock that is told to go on. */
class World {
  readonly said: string[] = [];
  readonly fenced: string[] = [];
  problem: string | null = null;
  term = 1;
  leads = true;
  holder: Holder | null = heldBy('us', 1);
  readonly watch: ArbiterWatch;
  readonly waited: number[] = [];
  #next: () => void = () => {};
  #hasLooked = false;

  constructor() {
    const arbiter: Arbiter = {
      name: 'dir:/shared',
      shared: true,
      claim: () => Promise.reject(new Error('nobody claims')),
      holder: () => Promise.resolve(this.holder),
      probe: () => Promise.resolve(this.problem),
    };
    this.watch = new ArbiterWatch({
      arbiter,
      clock: {
        nowMs: () => 0,
        realtimeNs: () => 0n,
        after: (ms, run) => {
          this.waited.push(ms);
          this.#next = run;
          return { cancel: () => {} };
        },
      },
      instance: 'us',
      report: (event, details) => void this.said.push(`${event}: ${String(details?.reason)}`),
      facts: () => ({
        vmId: VM,
        term: this.term,
        state: this.leads ? ({} as StateFacts) : null,
      }),
      fenced: (reason) => void this.fenced.push(reason),
    });
  }

  /** It has looked at what is now. */
  async looks(times = 1): Promise<void> {
    for (let time = 0; time < times; time += 1) {
      // The first look is the constructor's.
      if (this.#hasLooked) this.#next();
      this.#hasLooked = true;
      await new Promise(setImmediate);
    }
  }
}

function heldBy(instance: string, term: number): Holder {
  const who = { role: 'primary', name: 'shop', host: 'elsewhere', pid: 7 } as const;
  return { ...who, instance, term, claimedAt: 'then' };
}

watching('nothing is said while all is well', async () => {
  const world = new World();
  await world.looks(3);
  assert.equal([world.said, world.watch.problem, world.watch.answerMs], [[], null, 0]);
  assert.equal(new Set(world.waited), new Set([2000]));
});

watching('trouble is said once, and its end too', async () => {
  const world = new World();
  world.problem = 'it is read-only';
  await world.looks(3);
  assert.equal([world.watch.problem, world.watch.answerMs], ['it is read-only', null]);
  assert.is(world.waited.at(-1), 1000);
  world.problem = null;
  await world.looks(2);
  assert.is(world.watch.problem, null);
  assert.is(world.said.length, 2);
  assert.match(world.said[0] ?? '', /^arbiter-gone: nobody could go on alone now, .* read-only$/);
  assert.match(world.said[1] ?? '', /^arbiter-back: /);
});

watching('an arbiter that has lost its record of the VM is trouble', async () => {
  const world = new World();
  world.term = 3;
  world.holder = heldBy('us', 2);
  await world.looks();
  assert.match(world.watch.problem ?? '', 'dir:/shared has no record of term 3 of this VM');
  world.holder = null;
  await world.looks();
  assert.match(world.watch.problem ?? '', 'no record of term 3');
});

watching(
  'a later term that somebody else holds ends the side that leads, at the second look',
  async () => {
    const world = new World();
    world.holder = heldBy('them', 2);
    await world.looks();
    const seen = world.fenced.length;
    await world.looks();
    assert.equal([seen, world.fenced.length], [0, 1]);
    assert.match(world.fenced[0] ?? '', /^fenced: term 2 is held by primary shop on elsewhere/);
    assert.is(world.watch.problem, null);
  },
);

watching(
  'not our own claim, nor what a stand-by sees, nor what was gone at the second look',
  async () => {
    for (const change of [
      (world: World) => Object.assign(world, { holder: heldBy('us', 2) }),
      (world: World) => Object.assign(world, { holder: heldBy('them', 2), leads: false }),
      (world: World) => Object.assign(world, { holder: heldBy('them', 1) }),
    ]) {
      const world = new World();
      change(world);
      await world.looks(4);
      assert.equal(world.fenced, []);
    }
    const world = new World();
    world.holder = heldBy('them', 2);
    await world.looks();
    world.leads = false;
    await world.looks(3);
    assert.equal(world.fenced, []);
  },
);

watching.run();
