// SPDX-License-Identifier: Apache-2.0
/** The rooms of the addon have floors, as those of src/ have. No exception is listed here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { type Arrow, against, circle, filesBelow, includesOf, readArrows } from '../lib/imports.ts';

const ADDON = 'native/kvm-exit-log/addon';
const QUORUM = 'native/kvm-exit-log/quorum';
const PLACES = [ADDON, 'native/kvm-exit-log/include', QUORUM];

/** The lowest first; what lies loose in addon/ is a room for each name. */
const FLOORS = [
  ['include'],
  ['bits'],
  ['core'],
  ['ring', 'link', 'store'],
  ['image', 'state'],
  ['ship', 'receive'],
  ['quorum'],
  ['courier', 'options', 'transfer'],
  ['courier_thread', 'courier_pulse'],
  ['image_js'],
  ['courier_js', 'quorum_js', 'testing'],
  ['module'],
];

const roomOf = (path: string): string =>
  path.startsWith(`${ADDON}/`)
    ? (path.slice(ADDON.length + 1).split(/[/.]/)[0] ?? '')
    : path.startsWith('native/kvm-exit-log/include/')
      ? 'include'
      : path.startsWith(`${QUORUM}/core/`)
        ? 'core'
        : path;

const includes = (path: string, text: string): Arrow[] =>
  includesOf(projectRoot, path, text, PLACES);

const files = filesBelow(projectRoot, ADDON, ['.h', '.cc']);

const order = suite('import order of the addon');

order('nobody includes a room that is not below, and no file stands in a circle', () => {
  assert.ok(files.length > 40, `${files.length} files`);
  const arrows = readArrows(projectRoot, files, includes);
  assert.ok(arrows.length > 100, `${arrows.length} includes`);
  assert.equal(against(FLOORS, arrows, roomOf), []);
  assert.is(circle(arrows), null);
});

order('every source is built, and no other', () => {
  const gyp = readFileSync(join(projectRoot, 'native/kvm-exit-log/binding.gyp'), 'utf8');
  const built = [...gyp.matchAll(/"((?:addon|quorum)\/[^"]+\.cc)"/g)].map((match) => match[1]);
  const core = filesBelow(projectRoot, `${QUORUM}/core`, ['.cc']);
  const sources = [...files, ...core].filter((path) => path.endsWith('.cc'));
  assert.equal(
    built,
    sources.map((path) => path.slice('native/kvm-exit-log/'.length)),
  );
});

order('an include against it is found, and a circle', () => {
  const planted = (path: string, text: string): string[] =>
    against(FLOORS, includes(`${ADDON}/${path}`, text), roomOf);
  assert.equal(planted('ship/ship.cc', '#include "ring/shm.h"\n#include <vector>\n'), []);
  assert.equal(planted('ship/gate.cc', '#include "receive/receive.h"\n'), [
    `ship uses receive: ${ADDON}/ship/gate.cc uses ${ADDON}/receive/receive.h`,
  ]);
  assert.is(planted('bits/frame.h', '#include "ring/fill.h"\n').length, 1);
  assert.is(planted('courier.h', '#include "courier_js.h"\n').length, 1);
  assert.is(planted('attic/x.cc', '#include "bits/frame.h"\n').length, 1);
  const round = [
    ...includes(`${ADDON}/bits/frame.h`, '#include "bits/checksum.h"\n'),
    ...includes(`${ADDON}/bits/checksum.h`, '#include "bits/frame.h"\n'),
  ];
  assert.is(circle(round)?.length, 3);
});

order.run();
