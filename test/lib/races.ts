// SPDX-License-Identifier: Apache-2.0
/** Runs claim-races.ts in a network namespace of its own. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Progress } from '#scripts/lib/progress.mjs';
import { testEtcd } from '#scripts/steps/test-etcd.mjs';
import type { RaceResults } from './claim-races.ts';
import { root } from './command.ts';

export async function runRaces(options: {
  readonly count: number;
  readonly seed: number;
  readonly stderr: 'inherit' | 'ignore';
}): Promise<RaceResults> {
  await testEtcd(new Progress({ quietDone: true })); // in there nothing can be downloaded
  const dir = mkdtempSync(join(tmpdir(), 'understudy-races-'));
  const program = join(root, 'test', 'lib', 'claim-races.ts');
  const words = ['--net', process.execPath, '--import', 'tsx', program, '--dir', dir];
  words.push('--count', String(options.count), '--seed', String(options.seed));
  try {
    const child = spawn('unshare', words, { cwd: root, stdio: ['ignore', 'pipe', options.stderr] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (text === '') throw new Error(`the races ended with ${String(code)}, and without results`);
    return JSON.parse(text) as RaceResults;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
