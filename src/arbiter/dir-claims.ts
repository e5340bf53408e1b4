// SPDX-License-Identifier: Apache-2.0
/**
 * The fence as a folder that both sides see: what is done there, by a process that may hang (dir.ts).
 *
 *     PATH/<vm id>/term-<n>/holder.json
 *
 * The test-and-set is rename(2) of a prepared folder that already holds
 * holder.json: onto a folder that is not empty it fails, so that there is never
 * a term without its holder, and never two. Term n + 1 can only be claimed where
 * term n is on record: a share that is not mounted (its mount point an empty
 * folder) is unreachable, not free.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { errorCodeOf } from '../base/errors.ts';
import type { Claim, Claimant, Holder } from './arbiter.ts';
import { HOLDER_BYTES_MAX, parseHolder } from './holder.ts';

export async function claimInDir(
  path: string,
  vmId: string,
  term: number,
  claimant: Claimant,
): Promise<Claim> {
  assert(/^[0-9a-f]{32}$/.test(vmId), 'a VM id is 32 hex digits');
  assert(Number.isInteger(term) && term > 0, 'a term is a positive integer');
  if (!(await stat(path)).isDirectory()) throw new Error(`${path} is not a folder`);
  const vm = join(path, vmId);
  if (term === 1) await mkdir(vm, { recursive: true });

  const terms = await termsOf(vm);
  const highest = terms.at(-1) ?? 0;
  if (highest >= term) return judge(vm, highest, term, claimant);
  if (highest !== term - 1) {
    throw new Error(`it has no record of term ${term - 1} of VM ${vmId} (is the share mounted?)`);
  }

  const prepared = join(vm, `claim-${term}-${randomUUID()}`);
  await mkdir(prepared);
  try {
    const holder: Holder = { ...claimant, term, claimedAt: new Date().toISOString() };
    const file = await open(join(prepared, 'holder.json'), 'wx');
    try {
      await file.writeFile(`${JSON.stringify(holder)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    // A term without its holder would be an empty folder, onto which another one can be renamed.
    await syncFolder(prepared);
    await rename(prepared, join(vm, `term-${term}`));
  } catch (error) {
    await rm(prepared, { recursive: true, force: true });
    const code = errorCodeOf(error);
    // Somebody was faster; or (over NFS) our own rename was repeated.
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOENT') {
      const now = (await termsOf(vm)).at(-1) ?? 0;
      if (now >= term) return judge(vm, now, term, claimant);
    }
    throw error;
  }
  // The folder's own entry must survive a crash of the storage as well.
  await syncFolder(vm);
  await removeLeftovers(vm, term).catch(() => {}); // the term is won all the same
  return { result: 'won', term };
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * What claimants left that were killed. One that is still at it finds its folder gone, and then
 * that the term is taken. Terms stay: one that is gone could be won a second time.
 */
async function removeLeftovers(vm: string, term: number): Promise<void> {
  for (const entry of await readdir(vm)) {
    const digits = /^claim-(\d+)-/.exec(entry)?.[1];
    if (digits === undefined || Number(digits) > term) continue;
    await rm(join(vm, entry), { recursive: true, force: true });
  }
}

/** Ours, when we hold exactly the term claimed and nobody went past it. */
async function judge(
  vm: string,
  highest: number,
  term: number,
  claimant: Claimant,
): Promise<Claim> {
  const holder = await readHolder(vm, highest);
  const ours = highest === term && holder.instance === claimant.instance;
  if (!ours) return { result: 'lost', term: highest, holder };
  // The attempt that made it may have failed to sync it.
  await syncFolder(join(vm, `term-${term}`));
  await syncFolder(vm);
  return { result: 'won', term };
}

export async function holderInDir(path: string, vmId: string): Promise<Holder | null> {
  if (!(await stat(path)).isDirectory()) throw new Error(`${path} is not a folder`);
  const vm = join(path, vmId);
  try {
    const highest = (await termsOf(vm)).at(-1);
    return highest === undefined ? null : await readHolder(vm, highest);
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** What a claim does first, and what shows a share that is read-only or full. */
export async function probeDir(path: string): Promise<void> {
  if (!(await stat(path)).isDirectory()) throw new Error(`${path} is not a folder`);
  const made = join(path, `probe-${randomUUID()}`);
  await mkdir(made);
  await rmdir(made);
}

async function termsOf(vm: string): Promise<number[]> {
  const entries = await readdir(vm);
  return entries
    .map((entry) => /^term-(\d+)$/.exec(entry)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

async function readHolder(vm: string, term: number): Promise<Holder> {
  const path = join(vm, `term-${term}`, 'holder.json');
  if ((await stat(path)).size > HOLDER_BYTES_MAX) throw new Error(`${path} is no record of ours`);
  const holder = parseHolder(await readFile(path, 'utf8'));
  if (holder.term !== term) throw new Error(`${path} is of term ${holder.term}`);
  return holder;
}
