// SPDX-License-Identifier: Apache-2.0
/** A claim in a folder: what is on the disk, and in which order, before it counts as won. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { claimInDir } from '../../src/arbiter/dir-claims.ts';
import { claimant, VM } from '../lib/arbiter-contract.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-claims-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

let folders = 0;

function folder(): string {
  const path = join(dir, `${++folders}`);
  mkdirSync(path);
  return path;
}

/** What is synced while `run` runs, by name. @param fails of which the sync fails, once */
async function synced(run: () => Promise<unknown>, fails?: RegExp): Promise<string[]> {
  const handle = await open(dir);
  const proto = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = proto;
  const names: string[] = [];
  let isToFail = fails !== undefined;
  proto.sync = function (this: FileHandle) {
    const path = readlinkSync(`/proc/self/fd/${this.fd}`);
    names.push(path.replace(/^.*?\/[0-9a-f]{32}/, 'vm').replace(/claim-(\d+)-[^/]+/, 'claim-$1'));
    if (isToFail && fails?.test(path)) {
      isToFail = false;
      return Promise.reject(Object.assign(new Error('sync: EIO'), { code: 'EIO' }));
    }
    return sync.call(this);
  };
  try {
    await run();
  } finally {
    proto.sync = sync;
  }
  return names;
}

const claims = suite('claims in a folder');

claims('the holder, the folder with it, then the entry of the term', async () => {
  const path = folder();
  const names = await synced(() => claimInDir(path, VM, 1, claimant('primary')));
  assert.equal(names, ['vm/claim-1/holder.json', 'vm/claim-1', 'vm']);
});

claims('one that could not be synced is not won before it is', async () => {
  const path = folder();
  const me = claimant('primary');
  const failing = synced(() => claimInDir(path, VM, 1, me), /[0-9a-f]{32}$/);
  assert.match((await failing.catch((error: Error) => error)).toString(), /EIO/);
  assert.equal(readdirSync(join(path, VM)), ['term-1']);
  const again = synced(() => claimInDir(path, VM, 1, me), /[0-9a-f]{32}$/);
  assert.match((await again.catch((error: Error) => error)).toString(), /EIO/);
  let result = '';
  const names = await synced(async () => {
    ({ result } = await claimInDir(path, VM, 1, me));
  });
  assert.equal([result, names], ['won', ['vm/term-1', 'vm']]);
});

claims('what killed claimants left goes with the next term that is won', async () => {
  const path = folder();
  await claimInDir(path, VM, 1, claimant('primary'));
  for (const name of ['claim-1-a', 'claim-2-b', 'claim-2-c', 'claim-3-d']) {
    mkdirSync(join(path, VM, name));
    writeFileSync(join(path, VM, name, 'holder.json'), '{}');
  }
  assert.is((await claimInDir(path, VM, 2, claimant('backup'))).result, 'won');
  // The one of a term that may still be claimed stays: its claimant may be at it.
  assert.equal(readdirSync(join(path, VM)).sort(), ['claim-3-d', 'term-1', 'term-2']);
});

claims('a claimant whose folder was taken from under it has lost', async () => {
  const path = folder();
  const [me, you] = [claimant('primary'), claimant('backup')];
  await claimInDir(path, VM, 1, me);
  const handle = await open(dir);
  const proto = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = proto;
  let claim: Awaited<ReturnType<typeof claimInDir>> | null = null;
  try {
    proto.sync = async function (this: FileHandle) {
      proto.sync = sync;
      // Between its holder.json and its rename the other one wins, and tidies up.
      assert.is((await claimInDir(path, VM, 2, you)).result, 'won');
    };
    claim = await claimInDir(path, VM, 2, me);
  } finally {
    proto.sync = sync;
  }
  assert.is(claim?.result, 'lost');
  assert.equal(readdirSync(join(path, VM)).sort(), ['term-1', 'term-2']);
});

claims.run();
