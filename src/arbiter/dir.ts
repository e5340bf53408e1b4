// SPDX-License-Identifier: Apache-2.0
/**
 * The fence as a folder that both sides see.
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
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { errorCodeOf, messageOf } from '../base/errors.ts';
import type { Arbiter, ArbiterKind, Claim, Claimant, Holder } from './arbiter.ts';

/** "dir:PATH" */
export const DIR: ArbiterKind = {
  form: 'dir:PATH',
  resolve: (path, absolute) => absolute(path),
  open: (path) => dirArbiter(path),
};

export function dirArbiter(path: string, options: { timeoutMs?: number } = {}): Arbiter {
  const timeoutMs = options.timeoutMs ?? 2000;
  const name = `dir:${path}`;
  const guard = async <T>(what: Promise<T>, onFailure: (reason: string) => T): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<T>((resolve) => {
      timer = setTimeout(
        () => resolve(onFailure(`the arbiter ${name} did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([what, timeout]);
    } catch (error) {
      return onFailure(`the arbiter ${name} is not reachable: ${messageOf(error)}`);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    name,
    shared: true,
    claim: (vmId, term, claimant) =>
      guard<Claim>(claimInDir(path, vmId, term, claimant), (reason) => ({
        result: 'unreachable',
        reason,
      })),
    holder: (vmId) =>
      guard<Holder | null | { readonly unreachable: string }>(
        holderInDir(path, vmId),
        (unreachable) => ({ unreachable }),
      ),
  };
}

async function claimInDir(
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
  const folder = await open(vm, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
  return { result: 'won', term };
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
  return ours ? { result: 'won', term } : { result: 'lost', term: highest, holder };
}

async function holderInDir(path: string, vmId: string): Promise<Holder | null> {
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

async function termsOf(vm: string): Promise<number[]> {
  const entries = await readdir(vm);
  return entries
    .map((entry) => /^term-(\d+)$/.exec(entry)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

async function readHolder(vm: string, term: number): Promise<Holder> {
  const text = await readFile(join(vm, `term-${term}`, 'holder.json'), 'utf8');
  return JSON.parse(text) as Holder;
}
