// SPDX-License-Identifier: Apache-2.0
/** The house has floors: one uses only what is below it. No exception is listed here. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { against, filesBelow, importsOf, readArrows } from '../lib/imports.ts';

/** Floors of src/, the lowest first. Rooms of one floor do not know each other. */
const FLOORS = [
  ['schema', 'base'],
  ['epochs', 'arbiter'],
  ['native'],
  ['log'],
  ['guard'],
  ['vm'],
  ['checkpoint', 'wire'],
  ['replica', 'recording', 'lab'],
  ['retain', 'catalog', 'timeline', 'quorum'],
  ['record', 'replay'],
  ['daemon', 'debug', 'pack', 'keys'],
  ['demo'],
  ['bench'],
  ['cli'],
];

const roomOf = (path: string): string => {
  const [top = '', second = ''] = path.split('/');
  return top === 'src' ? second : top;
};

const order = suite('import order');

order('of src: nobody uses a room that is not below', () => {
  const files = [
    ...filesBelow(projectRoot, 'src', ['.ts']),
    ...filesBelow(projectRoot, 'native/kvm-exit-log', ['.ts']),
    ...filesBelow(projectRoot, 'bench', ['.ts']),
  ];
  assert.ok(files.length > 200, `${files.length} files`);
  assert.equal(against(FLOORS, readArrows(projectRoot, files, importsOf), roomOf), []);
});

order('an import against it is found, of a type and across a floor too', () => {
  const planted = (text: string): string[] =>
    against(FLOORS, importsOf('src/log/batch.ts', text), roomOf);
  assert.equal(planted("import { sleep } from '../base/clock.ts';"), []);
  assert.equal(planted("import type { Vm } from '../replica/ports.ts';"), [
    'log uses replica: src/log/batch.ts uses src/replica/ports.ts',
  ]);
  assert.equal(planted("export { vm } from '../vm/config.ts';").length, 1);
  assert.equal(planted("const x = await import('../attic/x.ts');"), [
    'attic has no floor: src/log/batch.ts uses src/attic/x.ts',
  ]);
});

order.run();
