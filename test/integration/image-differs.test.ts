// SPDX-License-Identifier: Apache-2.0
/**
 * A page of guest memory that is written and noted by nobody, on either side of a real pair by
 * checkpoint: the backup finds it, names it, and never goes live; the primary goes on alone.
 *
 *   npm test integration/image-differs
 */
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const differs = suite('an image that differs');
const root = scratch('image-differs');
const PAGE = 4096;
const MEMORY_BYTES = 128 * 1024 * 1024;
const CUTS = ['protocol = "remus"', 'digest_every = "cut"'];

/** Guest memory as a file sees it, from this offset on. */
interface Memory {
  readonly path: string;
  readonly from: number;
}

async function pidOf(pair: Pair, side: Side, fact: 'pid' | 'qemu_pid'): Promise<number> {
  return Number((await pair.status(side))?.[fact]);
}

/** The one mapping of the guest's size that QEMU may write. */
async function memoryOfGuest(pair: Pair): Promise<Memory> {
  const pid = await pidOf(pair, 'primary', 'qemu_pid');
  const found = readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      const start = Number.parseInt(from, 16);
      return Number.parseInt(to, 16) - start === MEMORY_BYTES ? [start] : [];
    });
  assert.is(found.length, 1, `${found.length} mappings of the size of guest memory`);
  return { path: `/proc/${pid}/mem`, from: found[0] ?? 0 };
}

/** What the daemon of the backup keeps the guest's memory in. */
async function memoryOfImage(pair: Pair): Promise<Memory> {
  const folder = `/proc/${await pidOf(pair, 'backup', 'pid')}/fd`;
  const name = readdirSync(folder).find((fd) =>
    readlinkSync(join(folder, fd)).startsWith('/memfd:understudy-image'),
  );
  assert.ok(name !== undefined, 'the daemon has an image');
  return { path: join(folder, name), from: 0 };
}

/** A bit of a page that the guest has never used, in the middle of others like it. */
function damage({ path, from }: Memory): number {
  const fd = openSync(path, 'r+');
  const all = Buffer.alloc(MEMORY_BYTES);
  for (let done = 0; done < MEMORY_BYTES; ) {
    done += readSync(fd, all, done, MEMORY_BYTES - done, from + done);
  }
  const zeros = Buffer.alloc(PAGE);
  let [best, bestAt, run] = [0, 0, 0];
  for (let page = 0; page < MEMORY_BYTES / PAGE; page += 1) {
    run = all.subarray(page * PAGE, (page + 1) * PAGE).equals(zeros) ? run + 1 : 0;
    if (run > best) [best, bestAt] = [run, page];
  }
  assert.ok(best > 1000, `${best} pages that were never used`);
  const page = bestAt - Math.floor(best / 2);
  writeSync(fd, Buffer.from([1]), 0, 1, from + page * PAGE);
  closeSync(fd);
  return page;
}

const PLACES = [
  {
    what: "the primary's",
    memory: memoryOfGuest,
    says: () =>
      /memory of the image differs from the primary's at the end of epoch \d+: [0-9a-f]{16} instead/,
  },
  {
    what: "the image's",
    memory: memoryOfImage,
    says: (page: number) =>
      new RegExp(`page ${page} of pc\\.ram in the image is not as epoch \\d+ left it`),
  },
] as const;

/** Its service listens, and epochs are compared. */
async function comparing(name: string, env: Readonly<Record<string, string>> = {}): Promise<Pair> {
  const options = { env: { primary: env } };
  const pair = Pair.start(join(root, name), await referenceGuest(), CUTS, options);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const before = Number((await pair.status('backup'))?.image_compared);
    await pair.until('epochs are compared', async () => {
      return Number((await pair.status('backup'))?.image_compared) > before + 20;
    });
    return pair;
  } catch (error) {
    await pair.end();
    throw error;
  }
}

for (const { what, memory, says } of PLACES) {
  differs(`${what} memory: the backup ends by name, the primary goes on`, async () => {
    const pair = await comparing(what.replace(/\W/g, ''));
    try {
      const page = damage(await memory(pair));
      const { code, stderr } = await pair.ended('backup');
      assert.is(code, 10, stderr);
      assert.match(stderr, says(page));
      await pair.until('it goes on alone', async () => {
        return (await pair.status('primary'))?.state === 'needs-backup';
      });
      assert.is(pair.packetsFrom('backup'), 0);
    } finally {
      await pair.end();
    }
  });
}

differs('where all memory is read at each cut, the primary ends at the next one', async () => {
  const pair = await comparing('checked', { EXITLOG_DIGEST_CHECK: '1' });
  try {
    damage(await memoryOfGuest(pair));
    const { code, stderr } = await pair.ended('primary');
    assert.not.equal(code, 0);
    assert.match(stderr, /guest memory was written without being marked dirty/);
    await pair.until('the backup goes on', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
  } finally {
    await pair.end();
  }
});

differs.run();
