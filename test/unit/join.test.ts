// SPDX-License-Identifier: Apache-2.0
/** A backup that joins says what it has no faster than it is heard. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAME } from '../../src/log/frame.ts';
import { Join } from '../../src/replica/join.ts';
import type { StateSink } from '../../src/replica/ports.ts';
import type { PeerSession } from '../../src/wire/session.ts';

const HASHES_IN_ONE = 4096;
const joins = suite('what a backup has of a disk');

joins('a frame that finds no room is the last until there is some', async () => {
  const frames = 10;
  const sink = {
    blocks: async () => [new BigUint64Array(frames * HASHES_IN_ONE)],
    open: () => {},
    close: async () => {},
    pressed: false,
  } as unknown as StateSink;
  let sent = 0;
  const session = {
    send: (frame: Buffer) => {
      assert.is(frame.readUInt16LE(4), FRAME.BLOCKS);
      sent += 1;
      return sent % 4 !== 0;
    },
  } as unknown as PeerSession;
  const join = new Join(session, sink, () => {});
  const run = join.run();
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
  for (const wanted of [4, 8, 10]) {
    await settle();
    assert.is(sent, wanted);
    join.drained();
  }
  join.cancel();
  assert.is(await run, null);
});

joins.run();
