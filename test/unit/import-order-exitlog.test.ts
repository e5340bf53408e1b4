// SPDX-License-Identifier: Apache-2.0
/** The exit log in QEMU has floors: a file includes, and calls, only what is below it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { type Arrow, against, circle, filesBelow, includesOf, readArrows } from '../lib/imports.ts';

const QEMU = 'native/kvm-exit-log/qemu';
const HOUSE = `${QEMU}/exitlog/`;

/**
 * The lowest first. `accel` is what an accelerator gives, and asks the one in use; who gives
 * it is above core/. `top` are the files that lie in no folder.
 */
const FLOORS = [
  ['accel'],
  ['core'],
  ['accel/tcg', 'accel/multi'],
  ['exits'],
  ['verify', 'debug'],
  ['cut'],
  ['confine'],
  ['top'],
];

const roomOf = (path: string): string => {
  const inside = path.slice(HOUSE.length);
  return inside.includes('/') ? inside.slice(0, inside.lastIndexOf('/')) : 'top';
};

const files = filesBelow(projectRoot, HOUSE, ['.c', '.h']);
const includes = (path: string, text: string): Arrow[] =>
  includesOf(projectRoot, path, text, [QEMU]);

/** A header and its .c are one thing in a circle. */
const asUnits = (arrows: readonly Arrow[]): Arrow[] =>
  arrows
    .map(({ from, to }) => ({ from: from.slice(0, -2), to: to.slice(0, -2) }))
    .filter(({ from, to }) => from !== to);

/** C without comments, texts and preprocessor lines. */
const bare = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|^[ \t]*#[^\n]*$/gm, ' ');

/** What a .c defines for others: functions, and variables in capitals or not. */
function definedIn(text: string): string[] {
  const functions = text.matchAll(/^(?!static\b|typedef\b)\w[\w \t*]*?\b(\w+)\([^;{}]*\)\s*\{/gm);
  const variables = text.matchAll(
    /^(?!static\b|typedef\b|extern\b)(?:const )?\w+ (?:\*(?:const )?)*(\w+)(?:\[\w*\])?(?: =|;)/gm,
  );
  return [...functions, ...variables].map((match) => match[1] ?? '');
}

/** Who uses a name that another .c defines, whatever it includes. */
function uses(sources: ReadonlyMap<string, string>): (Arrow & { name: string })[] {
  const owner = new Map<string, string>();
  for (const [path, text] of sources) for (const name of definedIn(text)) owner.set(name, path);
  return [...sources].flatMap(([from, text]) =>
    [...new Set(text.match(/\b\w+\b/g))].flatMap((name) => {
      const to = owner.get(name);
      return to === undefined || to === from ? [] : [{ from, to, name }];
    }),
  );
}

const sources = new Map(
  files
    .filter((path) => path.endsWith('.c'))
    .map((path) => [path, bare(readFileSync(join(projectRoot, path), 'utf8'))]),
);

const order = suite('import order of the exit log in QEMU');

order('nobody includes a header of a floor that is not below', () => {
  assert.ok(files.length > 100, `${files.length} files`);
  assert.equal(against(FLOORS, readArrows(projectRoot, files, includes), roomOf), []);
});

order('nobody calls a floor that is not below, but what an accelerator gives', () => {
  const accel = readFileSync(join(projectRoot, `${HOUSE}accel/accel.h`), 'utf8');
  const given = new Set(bare(accel).match(/\b\w+\b/g));
  const calls = uses(sources).filter(({ name }) => !given.has(name));
  assert.equal(against(FLOORS, calls, roomOf), []);
});

order('no file includes itself through others, nor calls itself through them', () => {
  assert.equal(circle(asUnits(readArrows(projectRoot, files, includes))), null);
  const arrows = uses(sources);
  assert.ok(arrows.length > 400, `${arrows.length} uses`);
  assert.equal(circle(arrows), null);
});

/** The headers that a file includes, and those that these do. */
function headersOf(path: string, arrows: readonly Arrow[], seen = new Set<string>()): Set<string> {
  for (const { from, to } of arrows) {
    if (from === path && !seen.has(to)) headersOf(to, arrows, seen.add(to));
  }
  return seen;
}

order('who uses a name includes the header that has it', () => {
  const arrows = readArrows(projectRoot, files, includes);
  const wordsOf = (path: string): ReadonlySet<string> =>
    new Set(bare(readFileSync(join(projectRoot, path), 'utf8')).match(/\b\w+\b/g));
  const words = new Map(files.filter((path) => path.endsWith('.h')).map((h) => [h, wordsOf(h)]));
  const outer = wordsOf(`${QEMU}/include/exitlog.h`);
  const blind = uses(sources).filter(
    ({ from, name }) =>
      !outer.has(name) &&
      ![...headersOf(from, arrows)].some((header) => words.get(header)?.has(name)),
  );
  assert.equal(blind, []);
});

order('an include against the order is found, and a circle', () => {
  const planted = (path: string, header: string): string[] =>
    against(FLOORS, includes(HOUSE + path, `#include "exitlog/${header}"\n`), roomOf);
  assert.equal(planted('exits/net.c', 'core/ring.h'), []);
  assert.equal(planted('core/ring.c', 'exits/net.h'), [
    `core uses exits: ${HOUSE}core/ring.c uses ${HOUSE}exits/net.h`,
  ]);
  assert.equal(planted('verify/probe.c', 'debug/debug.h').length, 1);
  assert.equal(planted('cut/checkpoint.c', 'visit.h').length, 1);

  const arrows = readArrows(projectRoot, files, includes);
  const back = includes(`${HOUSE}exits/stations.c`, '#include "exitlog/exits/net-queue.h"\n');
  assert.ok(circle(asUnits([...arrows, ...back])));

  const calls = new Map(sources).set(`${HOUSE}core/kick.c`, 'void f(void) { exitlog_emit(); }');
  calls.set(`${HOUSE}core/ring.c`, 'void exitlog_emit(void)\n{ f(); }');
  assert.ok(circle(uses(calls)));
});

order.run();
