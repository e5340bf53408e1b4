// SPDX-License-Identifier: Apache-2.0
/** Runs a fuzz target, of C++ or of TypeScript, for a while in a process of its own. */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Progress } from '#scripts/lib/progress.mjs';
import { cacheDir, projectRoot } from '#scripts/paths.mjs';
import { fuzzTargets, nativeTargets, seedsOf } from '#scripts/steps/fuzz-targets.mjs';
import { type Growth, GrowthReader } from './growth.ts';
import { SCRIPT_TARGETS } from './targets.ts';

export interface FuzzResult {
  readonly target: string;
  readonly seconds: number;
  /** CPU time, to within a second: on a busy host it is less than its time. */
  readonly cpuSeconds: number;
  readonly runs: number;
  readonly growth: Growth;
  /** Files with what is wrong, and its last words; null: nothing was found. */
  readonly finding: { readonly file: string; readonly said: string } | null;
}

const LOOP = fileURLToPath(new URL('loop.ts', import.meta.url));
/**
 * For one input of C++ that never ends, in seconds, and memory of all. How much CPU it may take is
 * in fuzz.cc; of TypeScript see loop.ts.
 */
const INPUT_S_MAX = 60;
const MEMORY_MIB_MAX = 1024;
const INPUT_BYTES_MAX = 8192;
const CPU_LOOK_MS = 500;
/**
 * So often it is looked at after its time: it hangs. Not a time: who is stopped, or gets no CPU, as
 * those that run beside measurements, does not look either.
 */
const LATE_LOOKS_MAX = 360;

export function allTargets(): string[] {
  return [...nativeTargets(), ...SCRIPT_TARGETS.map(({ name }) => name)].sort();
}

/** Builds what has to be built. @returns the folder of the programs */
export async function builtTargets(): Promise<string> {
  return await fuzzTargets(new Progress({ quietDone: true }));
}

/**
 * @param keep a folder for what was found, and for the corpus
 * @param input run this file alone
 */
export async function runTarget(
  target: string,
  options: { programs: string; seconds: number; seed: number; keep: string; input?: string },
): Promise<FuzzResult> {
  const keep = join(options.keep, target);
  mkdirSync(join(keep, 'corpus'), { recursive: true });
  const isNative = nativeTargets().includes(target);
  const args = isNative
    ? nativeArgs(target, keep, options)
    : ['--max-old-space-size=512', '--import', 'tsx', LOOP].concat(
        [target, String(options.seconds), String(options.seed), keep],
        options.input ?? [],
      );
  const program = isNative ? join(options.programs, target) : process.execPath;
  const { code, said, cpuSeconds, growth } = await run(program, args, options.seconds * 1000);
  const runs = Number(/(?:executed_units:\s+|"runs":)(\d+)/.exec(said)?.[1] ?? 0);
  const done = { target, seconds: options.seconds, cpuSeconds, runs, growth };
  if (code === 0) return { ...done, finding: null };
  const file = isNative ? newest(keep) : join(keep, `finding-${Date.now()}`);
  const current = join(keep, 'current');
  if (!isNative && options.input === undefined && existsSync(current)) copyFileSync(current, file);
  return { ...done, finding: { file: options.input ?? file, said } };
}

function nativeArgs(
  target: string,
  keep: string,
  options: { seconds: number; seed: number; input?: string },
): string[] {
  const limits = [
    `-timeout=${INPUT_S_MAX}`,
    `-rss_limit_mb=${MEMORY_MIB_MAX}`,
    `-malloc_limit_mb=${MEMORY_MIB_MAX / 2}`,
    `-artifact_prefix=${keep}/`,
  ];
  if (options.input !== undefined) return [...limits, options.input];
  const seeds = seedsOf(target);
  return [
    ...limits,
    `-max_total_time=${options.seconds}`,
    `-seed=${options.seed}`,
    `-max_len=${INPUT_BYTES_MAX}`,
    '-print_final_stats=1',
    join(keep, 'corpus'),
    ...(existsSync(seeds) ? [seeds] : []),
  ];
}

/** What libFuzzer has written last. */
function newest(keep: string): string {
  const files = readdirSync(keep)
    .filter((name) => /^(crash|leak|oom|timeout|slow-unit)-/.test(name))
    .map((name) => join(keep, name));
  return files.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0] ?? keep;
}

function run(
  program: string,
  args: readonly string[],
  dueMs: number,
): Promise<{ code: number | null; said: string; cpuSeconds: number; growth: Growth }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: projectRoot, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    let cpuSeconds = 0;
    const look = (): number => {
      cpuSeconds = cpuSecondsOf(child.pid) ?? cpuSeconds;
      return cpuSeconds;
    };
    const growth = new GrowthReader();
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-16_384);
        growth.read(text, look);
      });
    }
    const dueAt = performance.now() + dueMs;
    let late = 0;
    const looks = setInterval(() => {
      look();
      if (performance.now() > dueAt) late += 1;
      if (late !== LATE_LOOKS_MAX) return;
      said += `\nno end ${(LATE_LOOKS_MAX * CPU_LOOK_MS) / 1000} s after its time\n`;
      child.kill('SIGKILL');
    }, CPU_LOOK_MS);
    child.on('close', (code) => {
      clearInterval(looks);
      resolve({ code, said, cpuSeconds, growth: growth.end(cpuSeconds) });
    });
  });
}

/** What a process has used so far; null: it has ended. */
function cpuSecondsOf(pid: number | undefined): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return null;
  }
}

/** Where hours of fuzzing leave their corpus and what they find. */
export const KEPT = join(cacheDir(), 'fuzzed');
