// SPDX-License-Identifier: Apache-2.0
/**
 * That a point is a count of instructions (`icount`) is TCG's. Who spells it so looks inside of
 * one, and would have to be looked at for another accelerator: these rooms, and no other file.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { filesBelow } from '../lib/imports.ts';

const ROOMS = [
  // What a point is, and how JSON has it.
  'src/base/position.ts',
  'src/base/position-json.ts',
  // Bits and files of a layout that is fixed: log, wire, shared memory, retained.json, the catalog's columns.
  'src/log/',
  'src/wire/',
  'native/kvm-exit-log/',
  'src/recording/retained.ts',
  'src/catalog/catalog.ts',
  // Instructions are an axis of its page: numbers, by the million.
  'src/timeline/',
];

/** Lines that name it in code; comments and texts may. */
function namedIn(path: string, text: string): string[] {
  if (!/icount/i.test(text) || ROOMS.some((room) => path.startsWith(room))) return [];
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    // A word: `'-icount'` is an option's.
    if (isName(node) && /^#?\w*icount\w*$/i.test(node.text)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      found.push(`${path}:${line + 1} ${node.text}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Also `{ 'icount': … }` and `x['icount']`. */
function isName(node: ts.Node): node is ts.Identifier | ts.PrivateIdentifier | ts.StringLiteral {
  if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) return true;
  const { parent } = node;
  return (
    ts.isStringLiteral(node) &&
    ((ts.isPropertyAssignment(parent) && parent.name === node) ||
      ts.isPropertySignature(parent) ||
      ts.isElementAccessExpression(parent))
  );
}

const position = suite('opaque position');

position('nobody else knows what a point is made of', () => {
  const files = filesBelow(projectRoot, 'src', ['.ts']);
  assert.ok(files.length > 150, `${files.length} files`);
  assert.equal(
    files.flatMap((path) => namedIn(path, readFileSync(join(projectRoot, path), 'utf8'))),
    [],
  );
});

position('who names it is found, in a field, an import, a key or a template', () => {
  const planted = (text: string): string[] => namedIn('src/replica/x.ts', text);
  assert.equal(planted('interface X {\n  readonly icount: bigint;\n}'), [
    'src/replica/x.ts:2 icount',
  ]);
  assert.is(planted('const x = { icount: 1n };').length, 1);
  assert.is(planted("const x = { 'icount': 1n };").length, 1);
  assert.is(planted("const x = y['icount'];").length, 1);
  assert.is(planted('class X { #lastIcount = 0n; }').length, 1);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is code
  assert.is(planted('const x = `at ${here.icount}`;').length, 1);
  assert.is(planted("import { icountOf } from '../base/position.ts';").length, 1);
});

position('in comments and texts it may be said', () => {
  assert.equal(namedIn('src/vm/x.ts', "// icount\nconst x = ['-icount', `icount`];"), []);
  assert.equal(namedIn('src/log/x.ts', 'const x = { icount: 1n };'), []);
});

position.run();
