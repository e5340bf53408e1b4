// SPDX-License-Identifier: Apache-2.0
/**
 * A page of guest memory that is written and noted by nobody, on either side of a real pair by
 * checkpoint: the backup finds it, names it, and never goes live; the primary goes on alone.
 *
 *   npm test integration/image-differs
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { damage, type GuestMemory, memoryOfImage, memoryOfQemu } from '../lib/damaged-memory.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const differs = suite('an image that differs');
const root = scratch('image-differs');
const MEMORY_BYTES = 128 * 1024 * 1024;
const CUTS = ['protocol = "remus"', 'digest_every = "cut"'];

async function memoryOfGuest(pair: Pair): Promise<GuestMemory> {
  return memoryOfQemu(Number((await pair.status('primary'))?.qemu_pid), MEMORY_BYTES);
}

async function memoryOfBackup(pair: Pair): Promise<GuestMemory> {
  return memoryOfImage(Number((await pair.status('backup'))?.pid), MEMORY_BYTES);
}

const PLACES = [
  {
    what: "the primary's",
    memory: memoryOfGuest,
    vm: [],
    says: () =>
      /memory of the image differs from the primary's at the end of epoch \d+: [0-9a-f]{16} instead/,
  },
  {
    what: "the image's",
    memory: memoryOfBackup,
    vm: ['accel = "tcg-multi"', 'vcpus = 4'],
    says: (page: number) =>
      new RegExp(`page ${page} of pc\\.ram in the image is not as epoch \\d+ left it`),
  },
] as const;

/** Its service listens, and epochs are compared. */
async function comparing(
  name: string,
  env: Readonly<Record<string, string>> = {},
  vm: readonly string[] = [],
): Promise<Pair> {
  const options = { env: { primary: env }, vm };
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

for (const { what, memory, vm, says } of PLACES) {
  differs(`${what} memory: the backup ends by name, the primary goes on`, async () => {
    const pair = await comparing(what.replace(/\W/g, ''), {}, vm);
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
