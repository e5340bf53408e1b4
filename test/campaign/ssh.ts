// SPDX-License-Identifier: Apache-2.0
/**
 * Kills the primary of a Debian guest into which somebody types over ssh, N times under each
 * protocol in turns: each time on a fresh pair, which boots Debian's own init.
 *
 *   npm run campaign:ssh -- [--protocol NAME[,NAME…]] [--count 5] [--seed N]
 *        [--seconds-before S] [--seconds-after S] [--keep DIR]
 *
 * A failed run's folder is kept. Ends with a table on stderr and one JSON object on stdout;
 * exit code 1 when a session ended, a character was lost or came twice, or no echo came for
 * more than a second.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { textTable } from '../../src/base/text-table.ts';
import { PROTOCOL_NAMES } from '../../src/epochs/registry.ts';
import { GAP_MS_MAX, type SshFailover, sshFailover } from '../lib/ssh-failover.ts';

const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'lockstep,remus,kemari,kemari-every' },
    count: { type: 'string', default: '5' },
    seed: { type: 'string' },
    'seconds-before': { type: 'string', default: '1' },
    'seconds-after': { type: 'string', default: '2' },
    keep: { type: 'string' },
  },
});
const count = Number(values.count);
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000);
const protocols = values.protocol.split(',');
const isProtocol = (name: string): boolean => PROTOCOL_NAMES.some((one) => one === name);
if (!Number.isInteger(count) || count < 1 || !protocols.every(isProtocol)) {
  console.error(`usage: --protocol NAME,… --count N --seed N; names: ${PROTOCOL_NAMES.join(', ')}`);
  process.exit(2);
}
const kept = values.keep ?? mkdtempSync(join(tmpdir(), 'understudy-ssh-'));
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});

const runs: SshFailover[] = [];
const failures: { protocol: string; seed: number; problem: string }[] = [];
for (let index = 0; index < count; index += 1) {
  for (const protocol of protocols) {
    if (!interrupted) await once(protocol, firstSeed + index);
  }
}

async function once(protocol: string, seed: number): Promise<void> {
  const dir = join(kept, `${protocol}-${seed}`);
  mkdirSync(dir, { recursive: true });
  const [secondsBefore, secondsAfter] = [
    Number(values['seconds-before']),
    Number(values['seconds-after']),
  ];
  let problem: string;
  let facts = '';
  try {
    const run = await sshFailover({ dir, protocol, seed, secondsBefore, secondsAfter });
    runs.push(run);
    problem = run.problem;
    facts =
      `gap ${run.gap_ms} ms (before ${run.gap_before_ms}), detected in ${run.detect_ms}, ` +
      `live ${run.takeover_ms} ms later; echo ${run.echo_ms} ms, ${run.lines} lines; ` +
      `booted in ${run.boot_ms}, login ${run.login_ms} ms`;
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  console.error(`${problem === '' ? 'ok    ' : 'FAILED'} ${protocol} seed ${seed}: ${facts}`);
  if (problem === '') return rmSync(dir, { recursive: true, force: true });
  failures.push({ protocol, seed, problem });
  console.error(`  ${problem}\n  kept ${dir}; again with --protocol ${protocol} --seed ${seed}`);
}

/** Extremes and the median by nearest rank, in whole milliseconds. */
function spread(protocol: string, value: (run: SshFailover) => number | null): string {
  const known = runs
    .flatMap((run) => (run.protocol === protocol ? (value(run) ?? []) : []))
    .sort((a, b) => a - b);
  const ends = [known[0], known[Math.ceil(known.length / 2) - 1], known.at(-1)];
  return ends.map((ms) => (ms === undefined ? '-' : ms.toFixed(0))).join(' / ');
}

const table = textTable({
  head: ['least / median / most, ms', 'gap', 'gap before', 'detect', 'go live', 'echo', 'boot'],
});
for (const one of protocols) {
  table.push([
    one,
    spread(one, (run) => run.gap_ms),
    spread(one, (run) => run.gap_before_ms),
    spread(one, (run) => run.detect_ms),
    spread(one, (run) => run.takeover_ms),
    spread(one, (run) => run.echo_ms),
    spread(one, (run) => run.boot_ms),
  ]);
}
console.error(table.toString());
const wanted = count * protocols.length;
console.error(
  `${runs.length - failures.length} of ${wanted} sessions went on, within ${GAP_MS_MAX} ms`,
);
console.log(JSON.stringify({ seed: firstSeed, runs, failures }));
if (failures.length > 0 || runs.length < wanted) process.exitCode = 1;
else if (values.keep === undefined) rmSync(kept, { recursive: true, force: true });
