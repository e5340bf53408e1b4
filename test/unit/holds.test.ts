// SPDX-License-Identifier: Apache-2.0
/** Who holds the vCPU: the least wins, and who lets go undoes nobody else's hold. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { Holds } from '../../src/vm/holds.ts';

interface Context {
  holds: Holds;
  /** Where the vCPU was told to wait, in turn. */
  told: (bigint | null)[];
}

const holding = suite<Context>('holds on the vCPU');

holding.before.each((context) => {
  context.told = [];
  context.holds = new Holds((bound) => context.told.push(bound === null ? null : icountOf(bound)));
});

holding('the least of all bounds wins, whoever comes last', ({ holds, told }) => {
  holds.hold('lag', atIcount(500n));
  holds.hold('space', atIcount(700n));
  holds.hold('handover', atIcount(0n));
  holds.hold('lag', atIcount(900n));
  assert.equal(told, [500n, 0n]);
});

holding("who lets go undoes nobody else's hold", ({ holds, told }) => {
  holds.hold('handover', atIcount(0n));
  holds.hold('lag', atIcount(500n)); // an ack that is told of late
  holds.release('lag');
  holds.release('join');
  assert.equal(told, [0n], 'it stays at rest');
  holds.hold('lag', atIcount(800n));
  holds.release('handover');
  assert.equal(told, [0n, 800n]);
  holds.release('lag');
  assert.equal(told, [0n, 800n, null]);
});

holding('a bound moves up and down with its own holder', ({ holds, told }) => {
  holds.hold('lag', atIcount(500n));
  holds.hold('lag', atIcount(600n));
  holds.hold('lag', atIcount(600n));
  holds.hold('lag', atIcount(550n));
  assert.equal(told, [500n, 600n, 550n], 'what does not move is not told again');
});

holding('several let go at once, and of nothing too', ({ holds, told }) => {
  holds.release('lag', 'join');
  assert.equal(told, []);
  holds.hold('lag', atIcount(500n));
  holds.hold('join', atIcount(400n));
  holds.release('lag', 'join', 'handover');
  assert.equal(told, [500n, 400n, null]);
});

holding.run();
