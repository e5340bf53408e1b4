// SPDX-License-Identifier: Apache-2.0
/**
 * A guest with many large disk requests in flight over the same pages (large-requests.s): what
 * QEMU takes for them is bounded, and a replay does the same.
 */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { verifyWhole } from '../lib/checkpoints.ts';
import { childOf } from '../lib/child-of.ts';
import { type Running, scratch, start } from '../lib/command.ts';
import { assemble } from '../lib/disk-sector.ts';
import { sleep } from '../lib/fake-vm-pair.ts';

const MIB = 2 ** 20;
const REQUESTS = 24;
/** All of them at once would be 768 MiB. */
const BYTES = 32 * MIB;
const LARGER = 65 * MIB;
/** The guest's memory, what may be in flight, and QEMU itself. */
const RESIDENT_MIB_MAX = 96 + 64 + 160;

const dir = scratch('large-requests');
const requests = suite('large disk requests');

function vm(): string {
  const image = assemble('large-requests.s', dir, { REQUESTS, BYTES, LARGER });
  truncateSync(image, 128 * MIB);
  const file = join(dir, 'VM.toml');
  const disk = `[[disk]]\nimage = ${JSON.stringify(image)}\n`;
  writeFileSync(file, `name = "large"\nmemory = "96M"\nrng = false\n${disk}`);
  return file;
}

/** The most memory that the QEMU below a command had, in MiB. */
async function residentMost({ child, done }: Running): Promise<number> {
  let isOver = false;
  void done.then(() => (isOver = true));
  let most = 0;
  while (!isOver) {
    try {
      const status = readFileSync(`/proc/${childOf(child.pid ?? 0, 'qemu')}/status`, 'latin1');
      most = Math.max(most, Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      // it has not begun, or has ended
    }
    await sleep(20);
  }
  return most;
}

requests('take 64 MiB in all, one that is larger fails, and a replay does the same', async () => {
  const out = join(dir, 'recording');
  const recording = start(['record', vm(), '--out', out]);
  const most = await residentMost(recording);
  const { code, stdout, stderr } = await recording.done;
  assert.is(code, 0, stderr);
  assert.match(stdout, /^01$/m, 'all are written, and the larger one is refused');
  assert.ok(most > 96, `${most} MiB were seen`);
  assert.ok(most < RESIDENT_MIB_MAX, `QEMU took ${Math.round(most)} MiB`);
  assert.is((await verifyWhole(out)).failure, null);
});

requests.run();
