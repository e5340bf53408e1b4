// SPDX-License-Identifier: Apache-2.0
/** `understudy debug`, and real gdbs that connect to it. */
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Running, start } from './command.ts';

export interface DebugServer {
  /** For `target remote`. */
  readonly target: string;
  readonly running: Running;
  /** Ends it as Ctrl-C does. @returns its exit code */
  end(): Promise<number | null>;
}

const servers = new Set<Running>();

/** Kills the servers that a failed test has left. */
export function killDebugServers(): void {
  for (const { child } of servers) child.kill('SIGKILL');
}

export async function startDebug(
  recording: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<DebugServer> {
  const running = start(['debug', recording, ...words], { timeoutMs: 1_200_000, env });
  servers.add(running);
  void running.done.finally(() => servers.delete(running));
  await running.printed('target remote ');
  const find = () => /target remote (\S+)\n/.exec(running.stdout())?.[1];
  while (find() === undefined) await sleep(10);
  return {
    target: find() ?? '',
    running,
    async end() {
      running.child.kill('SIGINT');
      return (await running.done).code;
    },
  };
}

export interface GdbRun {
  readonly program: string;
  readonly target: string;
  /** gdb commands; an error ends them. */
  readonly script: readonly string[];
  /** Where the script may be written. */
  readonly dir: string;
  readonly timeoutMs?: number;
}

/** What gdb printed. @throws Error with it when gdb failed */
export async function gdb({ program, target, script, dir, timeoutMs }: GdbRun): Promise<string> {
  const file = join(dir, `gdb-${Math.random().toString(36).slice(2)}`);
  const lines = [`file ${program}`, `target remote ${target}`, ...script];
  writeFileSync(file, `${lines.join('\n')}\n`);
  // The host may be busy: gdb gives up its first questions after 6 s.
  const early = ['remotetimeout 120', 'pagination off', 'confirm off'];
  early.push('debuginfod enabled off', 'auto-load no');
  const words = early.flatMap((setting) => ['-iex', `set ${setting}`]);
  const child = spawn('gdb', ['-nx', '-batch', ...words, '-x', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs ?? 300_000);
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject); // it is not installed
    child.on('close', resolve);
  }).finally(() => clearTimeout(timer));
  if (code !== 0) throw new Error(`gdb ended with ${String(code)}:\n${said}`);
  return said;
}

/** Address of a symbol of a program. */
export function symbol(program: string, name: string): bigint {
  const table = execFileSync('nm', [program], { encoding: 'utf8' });
  const line = table.split('\n').find((text) => text.endsWith(` ${name}`));
  if (line === undefined) throw new Error(`${program} has no ${name}`);
  return BigInt(`0x${line.split(' ')[0]}`);
}

/** The script that finds who corrupted the variable, from the end of the recording. */
export const FIND_THE_STORE: readonly string[] = [
  'hbreak corrupted',
  'reverse-continue',
  'watch bank.balance',
  'reverse-continue',
  'printf "pc=0x%lx balance=%ld\\n", (long)$pc, bank.balance',
  'monitor where',
];

/** What FIND_THE_STORE printed. */
export function foundStore(said: string): { pc: bigint; balance: string; icount: string } {
  // What gdb says itself and what the server says can come in either order.
  const [, pc, balance = ''] = /pc=(0x[0-9a-f]+) balance=(-?\d+)\n/.exec(said) ?? [];
  const icount = /^icount (\d+)/m.exec(said)?.[1];
  if (pc === undefined || icount === undefined) throw new Error(`gdb did not find it:\n${said}`);
  return { pc: BigInt(pc), balance, icount };
}
