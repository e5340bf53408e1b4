// SPDX-License-Identifier: Apache-2.0
/**
 * A backup by epochs whose file system has no room for its journal: it leaves with the file's
 * name, and its primary goes on alone.
 *
 *   npm test integration/disk-journal-full
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const full = suite('a full disk journal');

full('ends its backup by name, and the primary goes on alone', async () => {
  const dir = scratch('disk-journal-full');
  const room = join(dir, 'backup');
  mkdirSync(room);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m', 'none', room]);
  try {
    const lines = ['protocol = "remus"', 'durability = "disk"'];
    const pair = Pair.start(dir, await referenceGuest(), lines);
    try {
      const listens = () => pair.console('primary').includes('listening');
      await pair.until('the service listens', listens, 120_000);
      const load = new NumberedLoad(pair, 1, 4);
      try {
        await load.more(20);
        const { blocks, bfree, bsize } = statfsSync(room);
        const used = (blocks - bfree) * bsize;
        execFileSync('mount', ['-o', `remount,size=${used}`, room]);
        const { code, stderr } = await pair.ended('backup');
        assert.is(code, 1, stderr);
        assert.match(stderr, /backup\/disk\.raw\.journal/);
        await pair.until('the primary goes on alone', async () => {
          return (await pair.status('primary'))?.state === 'needs-backup';
        });
        await load.more(20);
        await load.finish();
      } finally {
        load.end();
      }
    } finally {
      await pair.end();
    }
  } finally {
    execFileSync('umount', ['-l', room]);
  }
});

full.run();
