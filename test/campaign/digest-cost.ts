// SPDX-License-Identifier: Apache-2.0
/**
 * What periodic digests cost a CPU-bound guest: the same work recorded with and
 * without, alternating, medians.
 *
 *   npx tsx test/campaign/digest-cost.ts [--runs 5] [--loops 200000] [--every 100M]
 *
 * CPU time beside wall-clock, because only that means something on a busy host.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { start } from '../lib/command.ts';
import { referenceGuest } from '../lib/workloads.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    loops: { type: 'string', default: '200000' },
    every: { type: 'string', default: '100M' },
  },
});
const guest = await referenceGuest();
const dir = mkdtempSync(join(tmpdir(), 'understudy-digest-cost-'));
const vm = join(dir, 'VM.toml');
writeFileSync(
  vm,
  `name = "cost"\nkernel = "${guest.kernel}"\ninitrd = "${guest.initrd}"\n` +
    `append = "${guest.append} us.run=shell"\n`,
);

interface Sample {
  readonly wall: number;
  readonly cpu: number;
}

/** CPU seconds of all children that ended. */
function childrenCpuS(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100; // USER_HZ
}

/** Seconds per 10^9 instructions. */
async function once(every: string): Promise<Sample> {
  const out = join(dir, 'recording');
  rmSync(out, { recursive: true, force: true });
  const before = childrenCpuS();
  const running = start(['record', vm, '--out', out, '--digest-every', every], {
    timeoutMs: 600_000,
  });
  await running.printed('guest# ');
  running.child.stdin?.write(`i=0; while [ $i -lt ${values.loops} ]; do i=$((i+1)); done; exit\n`);
  const { code, stderr } = await running.done;
  if (code !== 0) throw new Error(stderr);
  const end = JSON.parse(readFileSync(join(out, 'end.json'), 'utf8')) as {
    icount: number;
    wall_s: number;
  };
  const billions = Number(end.icount) / 1e9;
  return { wall: end.wall_s / billions, cpu: (childrenCpuS() - before) / billions };
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;
}

const samples: Record<'off' | 'on', Sample[]> = { off: [], on: [] };
for (let run = 0; run < Number(values.runs); run += 1) {
  const order = run % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const);
  for (const which of order) {
    const sample = await once(which === 'on' ? values.every : 'off');
    samples[which].push(sample);
    console.error(`${which} wall ${sample.wall.toFixed(3)} cpu ${sample.cpu.toFixed(3)} s/1e9`);
  }
}
rmSync(dir, { recursive: true, force: true });
const ratio = (of: keyof Sample): number =>
  median(samples.on.map((sample) => sample[of])) / median(samples.off.map((sample) => sample[of]));
console.log(
  JSON.stringify({
    every: values.every,
    runs: Number(values.runs),
    wall_ratio: Number(ratio('wall').toFixed(4)),
    cpu_ratio: Number(ratio('cpu').toFixed(4)),
    samples,
  }),
);
