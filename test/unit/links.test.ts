// SPDX-License-Identifier: Apache-2.0
/** What pages and comments name is there: links, paths, commands; and they are English. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { KNOWN_KEYS } from '../../src/vm/config-schema.ts';
import {
  deadCommands,
  deadLinks,
  deadPaths,
  filesOfTree,
  foreignReferences,
  foreignSentences,
  proseOf,
} from '../lib/prose.ts';

/** Names of other people's files, of made ones, and of any one. */
const ELSEWHERE = new Set([
  './NAME.ts',
  'block/block-backend.c',
  'block/replication.c',
  'doc/xxhash_spec.md',
  'fpu/softfloat.c',
  'host/cpuinfo.h',
  'lz4/doc/lz4_Frame_format.md',
]);
/** These plant faults. */
const PLANTED = /^test\/(?:unit\/links\.test|lib\/prose)\.ts$/;

const tree = filesOfTree(projectRoot);
const contents = new Map(
  tree
    .filter((path) => /\.(md|ts|mjs|cc|c|h|sh|py)$/.test(path))
    .filter((path) => !path.endsWith('.capnp.ts') && !PLANTED.test(path))
    .map((path) => [path, readFileSync(join(projectRoot, path), 'utf8')]),
);
const pages = [...contents].filter(([path]) => path.endsWith('.md'));
const { scripts } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));
const has = { scripts: new Set(Object.keys(scripts)), verbs: verbsOfCli() };

/** `.command('x')` of each of the command's modules, and commander's own. */
function verbsOfCli(): Set<string> {
  const modules = [...contents].filter(([path]) => path.startsWith('src/cli/'));
  const names = modules.flatMap(([, content]) =>
    [...content.matchAll(/\.command\('(\w+)'\)/g)].map(([, name = '']) => name),
  );
  return new Set([...names, 'help']);
}

/** Faults of all pages and comments, each with its file. */
function found(check: (prose: string, path: string) => readonly string[]): string[] {
  return [...contents].flatMap(([path, content]) =>
    check(proseOf(path, content), path).map((fault) => `${path}: ${fault}`),
  );
}

test('the README has at most 140 lines, and every verb of the command', () => {
  const readme = contents.get('README.md') ?? '';
  assert.ok(readme.split('\n').length <= 141, `${readme.split('\n').length - 1} lines`);
  const missing = [...has.verbs].filter(
    (verb) => !/^(help|build|info|guard)$/.test(verb) && !readme.includes(`understudy ${verb}`),
  );
  assert.equal(missing, []);
});

test('every relative link of a page leads to a file, and to a heading', () => {
  assert.ok(pages.length > 20, `${pages.length} pages`);
  const read = (path: string): string | null => {
    if (contents.has(path)) return contents.get(path) ?? null;
    const folder = path.replace(/\/?$/, '/');
    return tree.some((file) => file === path || file.startsWith(folder)) ? '' : null;
  };
  assert.equal(
    pages.flatMap(([path, page]) =>
      deadLinks(path, page, read).map((fault) => `${path}: ${fault}`),
    ),
    [],
  );
});

test('every path that a page or a comment names is that of a file', () => {
  const dead = found((prose) => deadPaths(prose, tree).filter((path) => !ELSEWHERE.has(path)));
  assert.equal(dead, []);
});

test('every command that a page or a comment names is there', () => {
  assert.ok(has.verbs.size > 15, [...has.verbs].join());
  assert.equal(
    found((prose) => deadCommands(prose, has)),
    [],
  );
});

test('no sentence begins as no English one does, and none cites what is not in the tree', () => {
  assert.equal(
    found((prose) => foreignSentences(prose)),
    [],
  );
  assert.equal(found(foreignReferences), []);
});

test('every key of VM.toml is on its page, and no other', () => {
  const page = contents.get('docs/vm-toml.md') ?? '';
  const listed = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, key = '']) => key).sort();
  const tables = new Set(Object.keys(KNOWN_KEYS));
  const keys = Object.entries(KNOWN_KEYS).flatMap(([table, all]) =>
    all.filter((key) => !tables.has(table === '' ? key : `${table}.${key}`)),
  );
  assert.equal(listed, keys.sort());
});

test('every patch to QEMU has its line, in the order of the series', () => {
  const qemu = 'native/kvm-exit-log/qemu';
  const listed = contents.get(`${qemu}/README.md`)?.matchAll(/^\| (\d{4}) \|/gm) ?? [];
  const series = readFileSync(join(projectRoot, qemu, 'patches/series'), 'utf8');
  const numbers = [...series.matchAll(/^(\d{4})-/gm)].map(([, number]) => number);
  assert.ok(numbers.length > 40);
  assert.equal(
    [...listed].map(([, number]) => number),
    numbers,
  );
});

test('a planted dead link is found', () => {
  const read = (path: string): string | null => (path === 'docs/b.md' ? '# Why not?\n' : null);
  const faults = (page: string): number => deadLinks('docs/a.md', page, read).length;
  assert.is(faults('[b](b.md) [b](b.md#why-not) [web](https://x.org/b.md) `[x](c.md)`'), 0);
  assert.is(faults('[b](b.md#why)'), 1);
  assert.is(faults('[b](../b.md) and [c](c.md)'), 2);
});

test('a planted dead path is found', () => {
  const files = ['src/log/batch.ts', 'native/qemu/exitlog/exits/net.c'];
  const faults = (prose: string): string[] => deadPaths(prose, files);
  assert.equal(faults('log/batch.ts, `batch.ts`, exitlog/exits/net.c, `../log/batch.ts`'), []);
  assert.equal(faults('see log/bach.ts and `bach.ts`'), ['log/bach.ts', 'bach.ts']);
  assert.equal(faults('src/wire/batch.ts'), ['src/wire/batch.ts']);
  const source = "const x = 'log/none.ts'; // log/gone.ts\n/** `lost.ts` */\n";
  assert.equal(faults(proseOf('src/a.ts', source)), ['log/gone.ts', 'lost.ts']);
  assert.equal(faults(proseOf('a.sh', 'x=log/none.ts\n# log/gone.ts')), ['log/gone.ts']);
});

test('a planted command that does not exist is found', () => {
  const known = { scripts: new Set(['build']), verbs: new Set(['record']) };
  const page = 'an understudy waits\n`npm run build` `understudy record x`\n';
  assert.equal(deadCommands(page, known), []);
  assert.equal(deadCommands('`npm run biuld`', known), ['npm run biuld']);
  assert.equal(deadCommands('```sh\nbin/understudy recrod x\n```', known), [
    'bin/understudy recrod',
  ]);
});

test('a planted sentence and a planted reference are found', () => {
  const faults = (source: string): number => foreignSentences(proseOf('a.ts', source)).length;
  assert.is(faults('/** Length of it. The rest of\n * the log, so long as it lives. */'), 0);
  assert.is(faults('/** Of the log. */'), 1);
  assert.is(faults('/**\n * It is kept. So long it waits.\n * Of two one goes.\n */'), 2);
  assert.is(faults('f(); // So much is left.'), 1);
  assert.equal(foreignReferences('as issue 12 and DESIGN section 4 say'), [
    'issue 12',
    'DESIGN section 4',
  ]);
});

test.run();
