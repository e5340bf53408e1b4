// SPDX-License-Identifier: Apache-2.0
/** The folder of a replay's copies, made while another replay removes what the killed have left. */
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tryLock } from '../../src/base/file-lock.ts';
import { Scratch } from '../../src/replay/scratch.ts';
import { scratch } from '../lib/command.ts';

/** What another replay does before the first flock(1) of this one. */
const OTHERS = {
  'has the lock, and is about to remove the folder': 'exit 1',
  'has removed the folder already': 'rm -r "$(dirname "$(readlink /proc/self/fd/3)")"',
};

for (const [what, script] of Object.entries(OTHERS)) {
  test(`another replay ${what}: a further folder is made, and locked`, () => {
    const tmp = scratch('scratch-tmp');
    const bin = scratch('scratch-bin');
    const { PATH, TMPDIR } = process.env;
    const flock = join(bin, 'flock');
    const first = `if mkdir ${join(bin, 'once')} 2>/dev/null; then ${script}; fi`;
    writeFileSync(flock, `#!/bin/sh\n${first}\nPATH=${PATH} exec flock "$@"\n`);
    chmodSync(flock, 0o700);
    Object.assign(process.env, { PATH: `${bin}:${PATH}`, TMPDIR: tmp });
    try {
      const made = Scratch.make('replay');
      assert.ok(existsSync(join(bin, 'once')), 'the other one was there');
      assert.equal(readdirSync(made.dir), ['owner']);
      assert.is(tryLock(join(made.dir, 'owner')), null, 'nobody else can remove it');
      made.end();
      assert.not.ok(existsSync(made.dir));
    } finally {
      process.env.PATH = PATH;
      if (TMPDIR === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = TMPDIR;
    }
  });
}

test.run();
