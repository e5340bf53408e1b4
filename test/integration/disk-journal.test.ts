// SPDX-License-Identifier: Apache-2.0
/**
 * A pair by epochs whose backup syncs its disk's journal: it takes over, or, when its file system
 * has no room for the journal, leaves with the file's name and its primary goes on alone.
 *
 *   npm test integration/disk-journal
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const ANSWERS = 20;
/** What is left of it: the load goes on meanwhile. */
const ROOM_BYTES = 128 * 1024;
const durable = suite('a durable disk journal');

async function isAlone(pair: Pair, side: Side): Promise<void> {
  await pair.until(`the ${side} goes on alone`, async () => {
    return (await pair.status(side))?.state === 'needs-backup';
  });
}

/** A pair under load, which loses no answer whatever `fault` does to it. */
async function outlives(dir: string, fault: (pair: Pair) => Promise<void>): Promise<void> {
  const lines = ['protocol = "remus"', 'durability = "disk"'];
  const pair = Pair.start(dir, await referenceGuest(), lines);
  try {
    const listens = () => pair.console('primary').includes('listening');
    await pair.until('the service listens', listens, 120_000);
    const load = new NumberedLoad(pair, 1, 4);
    try {
      await load.more(ANSWERS);
      await fault(pair);
      await load.more(ANSWERS);
      await load.finish();
    } finally {
      load.end();
    }
  } finally {
    await pair.end();
  }
}

durable('is gone when its backup has taken over', async () => {
  const dir = scratch('disk-journal-live');
  const journal = join(dir, 'backup', 'disk.raw.journal');
  await outlives(dir, async (pair) => {
    assert.ok(existsSync(journal));
    pair.signal('primary', 'SIGKILL');
    await isAlone(pair, 'backup');
    assert.not.ok(existsSync(journal));
  });
});

durable('without room ends its backup by name, and the primary goes on alone', async () => {
  const dir = scratch('disk-journal-full');
  const room = join(dir, 'backup');
  mkdirSync(room);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m,mode=0700', 'none', room]);
  try {
    await outlives(dir, async (pair) => {
      const { blocks, bfree, bsize } = statfsSync(room);
      execFileSync('mount', ['-o', `remount,size=${(blocks - bfree) * bsize + ROOM_BYTES}`, room]);
      const { code, stderr } = await pair.ended('backup');
      assert.is(code, 1, stderr);
      assert.match(stderr, /backup\/disk\.raw\.journal/);
      await isAlone(pair, 'primary');
    });
  } finally {
    execFileSync('umount', ['-l', room]);
  }
});

durable.run();
