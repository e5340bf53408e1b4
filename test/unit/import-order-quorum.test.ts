// SPDX-License-Identifier: Apache-2.0
/** The core of replicas needs nothing but the addon's bits: whoever runs it stands above it. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { type Arrow, against, circle, filesBelow, includesOf, readArrows } from '../lib/imports.ts';

const NATIVE = 'native/kvm-exit-log';
const QUORUM = `${NATIVE}/quorum`;
const PLACES = [QUORUM, `${NATIVE}/addon`, `${NATIVE}/include`];
const FLOORS = [['bits'], ['core'], ['simulation', 'measure']];

const roomOf = (path: string): string =>
  path.startsWith(`${QUORUM}/`)
    ? (path.slice(QUORUM.length + 1).split('/')[0] ?? '')
    : (path.slice(`${NATIVE}/addon/`.length).split('/')[0] ?? '');

const includes = (path: string, text: string): Arrow[] =>
  includesOf(projectRoot, path, text, PLACES);

const order = suite('import order of quorum');

order('nobody includes a room that is not below, and no file stands in a circle', () => {
  const files = filesBelow(projectRoot, QUORUM, ['.h', '.cc']);
  const arrows = readArrows(projectRoot, files, includes);
  assert.ok(arrows.length > 40, `${arrows.length} includes`);
  assert.equal(against(FLOORS, arrows, roomOf), []);
  assert.is(circle(arrows), null);
});

order('an include against it is found', () => {
  const planted = (text: string): number =>
    against(FLOORS, includes(`${QUORUM}/core/replica.cc`, text), roomOf).length;
  assert.is(planted('#include "bits/errors.h"\n'), 0);
  assert.is(planted('#include "simulation/world.h"\n'), 1);
  assert.is(planted('#include "ship/gate.h"\n'), 1);
});

order.run();
