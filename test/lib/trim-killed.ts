// SPDX-License-Identifier: Apache-2.0
/**
 * Trims a finished recording as `record --retain` would, and dies by SIGKILL at its
 * N-th change of a file system; ends with 0 when there are fewer.
 *
 *   tsx test/lib/trim-killed.ts DIR CHECKPOINTS N
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [dir = '', count = '', at = ''] = process.argv.slice(2);
let changes = 0;

/** Before the change: the one before it is the last that happened. */
function counted<A extends unknown[], R>(change: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    changes += 1;
    if (changes === Number(at)) process.kill(process.pid, 'SIGKILL');
    return change(...args);
  };
}

fs.writeFileSync = counted(fs.writeFileSync) as typeof fs.writeFileSync;
fs.renameSync = counted(fs.renameSync);
fs.promises.rename = counted(fs.promises.rename);
fs.promises.rm = counted(fs.promises.rm);
fs.promises.unlink = counted(fs.promises.unlink);
syncBuiltinESMExports();

const { openRecording } = await import('../../src/recording/folder.ts');
const { Trimmer } = await import('../../src/retain/trimmer.ts');
const limits = { count: Number(count), ageMs: null, bytes: null };
const trimmer = new Trimmer(openRecording(dir), limits, (text) => {
  throw new Error(text);
});
await trimmer.close();
console.log(changes);
