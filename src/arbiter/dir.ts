// SPDX-License-Identifier: Apache-2.0
/**
 * The fence as a folder that both sides see, asked through a process of its own (dir-process.ts):
 * a file system whose server is gone hangs whoever touches it, and a daemon that waits for
 * it could neither beat, nor report, nor end.
 */
import { fileURLToPath } from 'node:url';
import { messageOf } from '../base/errors.ts';
import type { Arbiter, ArbiterKind, Claim, Claimant, Holder } from './arbiter.ts';
import { OffLoop } from './off-loop.ts';

/** "dir:PATH" */
export const DIR: ArbiterKind = {
  form: 'dir:PATH',
  wrong: () => null,
  resolve: (path, absolute) => absolute(path),
  open: (path) => dirArbiter(path),
};

/** What dir-process.ts is asked. */
export interface DirQuestions {
  claim(path: string, vmId: string, term: number, claimant: Claimant): Promise<Claim>;
  holder(path: string, vmId: string): Promise<Holder | null>;
  probe(path: string): Promise<null>;
}

/** In dist/ it is JavaScript. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const PROGRAM = fileURLToPath(new URL(`dir-process.${EXTENSION}`, import.meta.url));

export function dirArbiter(path: string, options: { timeoutMs?: number } = {}): Arbiter {
  const name = `dir:${path}`;
  const process = new OffLoop<DirQuestions>(PROGRAM, options.timeoutMs ?? 2000);
  const unreachable = (error: unknown): string => `the arbiter ${name} ${messageOf(error)}`;
  return {
    name,
    shared: true,
    claim: (vmId, term, claimant) =>
      process
        .ask('claim', path, vmId, term, claimant)
        .catch((error) => ({ result: 'unreachable', reason: unreachable(error) })),
    holder: (vmId) =>
      process.ask('holder', path, vmId).catch((error) => ({ unreachable: unreachable(error) })),
    probe: () => process.ask('probe', path).catch(unreachable),
  };
}
