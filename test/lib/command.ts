// SPDX-License-Identifier: Apache-2.0
/** Runs the built `understudy` command: tests of it hold no product code. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const command = join(root, 'bin', 'understudy');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Decoded as latin1: console bytes as they are. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly done: Promise<Ended>;
  stdout(): string;
  /** Resolves when stdout has the text; rejects when it ends first. */
  printed(text: string): Promise<void>;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
  /** Words before the command, e.g. `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  /** What node runs in the command's place. */
  readonly program?: readonly string[];
}

export function start(args: readonly string[], options: RunOptions = {}): Running {
  const { prefix = [], program = [command] } = options;
  const [file = '', ...words] = [...prefix, process.execPath, ...program, ...args];
  const child = spawn(file, words, {
    // The recordings of tests are in nobody's list.
    env: { ...process.env, UNDERSTUDY_CATALOG_DIR: 'off', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let ended = false;
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const look of waiting) look();
  };
  child.stdin.on('error', () => {}); // it may end before it reads
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    stdout += text;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000);
  const done = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      ended = true;
      wake();
      resolve({ code, signal, stdout, stderr });
    });
  });
  return {
    child,
    done,
    stdout: () => stdout,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (stdout.includes(text)) resolve();
          else if (ended) reject(new Error(`ended before "${text}"\n${stdout}\n${stderr}`));
          else return;
          waiting.delete(look);
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Runs to the end with stdin closed. */
export function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const running = start(args, options);
  running.child.stdin?.end();
  return running.done;
}

/** Runs with --json; the object on stdout. */
export async function runJson(
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ code: number | null; json: Record<string, unknown>; stderr: string }> {
  const { code, stdout, stderr } = await run([...args, '--json'], options);
  try {
    return {
      code,
      json: JSON.parse(Buffer.from(stdout, 'latin1').toString()) as Record<string, unknown>,
      stderr,
    };
  } catch {
    throw new Error(`no JSON from ${args.join(' ')}: "${stdout}" ${stderr}`);
  }
}

/** A folder that is gone when the process ends. */
export function scratch(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `understudy-${name}-`));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Compiles test/lib/fake-vm.c into `dir`. */
export function buildFakeVm(dir: string): string {
  const binary = join(dir, 'fake-vm');
  const include = join(root, 'native/kvm-exit-log/include');
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-I', include];
  execFileSync('cc', [...flags, '-o', binary, join(root, 'test/lib/fake-vm.c')]);
  return binary;
}
