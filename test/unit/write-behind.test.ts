// SPDX-License-Identifier: Apache-2.0
/** Nobody waits for a disk that hangs, and what waits for it is bounded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WriteBehind } from '../../src/base/write-behind.ts';

const MIB = 2 ** 20;

test('one after the other, in their order; what is too much is refused', async () => {
  const written: number[] = [];
  let goOn = (): void => {};
  let hangs = true;
  const behind = new WriteBehind(async (bytes) => {
    if (hangs) await new Promise<void>((resolve) => (goOn = resolve));
    written.push(bytes[0] ?? -1);
  });
  for (let n = 0; n < 4; n += 1) assert.ok(behind.add(Buffer.alloc(MIB, n)), `${n}`);
  assert.not.ok(behind.add(Buffer.alloc(1)), 'four MiB wait');
  assert.equal(written, []);
  hangs = false;
  goOn();
  await behind.settled();
  assert.equal(written, [0, 1, 2, 3]);
  assert.ok(behind.add(Buffer.alloc(5 * MIB, 9)), 'one that is larger goes alone');
  await behind.settled();
  assert.equal(written, [0, 1, 2, 3, 9]);
});

test.run();
