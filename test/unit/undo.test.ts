// SPDX-License-Identifier: Apache-2.0
/** What was taken is given back: the last first, once, whatever fails. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Undo } from '../../src/base/undo.ts';

const undoing = suite('undo');

undoing('the last first, each when the one after it is over', async () => {
  const undo = new Undo();
  const done: string[] = [];
  undo.add(() => done.push('lock'));
  undo.add(async () => {
    await new Promise(setImmediate);
    done.push('process');
  });
  undo.add(() => done.push('socket'));
  await Promise.all([undo.run(), undo.run()]);
  await undo.run();
  assert.equal(done, ['socket', 'process', 'lock'], 'once');
});

undoing('a step that fails keeps nobody from going, and is told', async () => {
  const undo = new Undo();
  let released = false;
  undo.add(() => {
    released = true;
  });
  undo.add(() => Promise.reject(new Error('no')));
  const error = await undo.run().then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.is((error as Error).message, 'no');
  assert.ok(released);
});

undoing.run();
