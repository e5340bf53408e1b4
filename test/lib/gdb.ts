// SPDX-License-Identifier: Apache-2.0
/** Stops a process at a function of its own, from outside, and kills it there: gdb, by symbols alone. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';

/** One place to get to; a list of them is reached one after another. */
export interface Stop {
  /** Where gdb breaks: a function, or "*NAME" for its first instruction. */
  readonly at: string;
  /** gdb's condition, over registers: there are no debug infos. */
  readonly when?: string;
  /** A command of gdb's, once it is there. */
  readonly does?: string;
  /** Let it return to its caller. */
  readonly finish?: true;
}

export interface GdbKill {
  readonly pid: number;
  readonly stops: readonly Stop[];
  /** The kill is at the n-th passage of the first stop, from 1. */
  readonly passage: number;
  /** A library whose symbols the stops need; none is read otherwise, it takes long. */
  readonly library?: string;
  /** The first stop is set: from here on it can be reached. */
  readonly armed?: () => void;
  /** A shell command that is run while the process stands still, just before its end. */
  readonly before: string;
  /** It goes on instead of being killed. */
  readonly spared?: true;
  /** Where the script may be written. */
  readonly script: string;
  readonly timeoutMs: number;
}

const ARMED = 'the first stop is set';

/** Resolves when the process is killed, or let go. @throws Error with gdb's words when it is not */
export async function killWithGdb(kill: GdbKill): Promise<void> {
  // A script, and not -ex: its first error ends it, and nothing is killed elsewhere.
  writeFileSync(kill.script, scriptOf(kill));
  const early = ['pagination off', 'confirm off', 'debuginfod enabled off', 'auto-load no'];
  early.push('auto-solib-add off');
  const words = early.flatMap((setting) => ['-iex', `set ${setting}`]);
  const child = spawn('gdb', ['-nx', '-batch', ...words, '-x', kill.script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let armed = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (!armed && said.includes(ARMED)) {
        armed = true;
        kill.armed?.();
      }
    });
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, kill.timeoutMs);
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject); // it is not installed
    child.on('close', () => resolve());
  }).finally(() => clearTimeout(timer));
  const hits = said.match(/(?:^|hit )(?:Breakpoint|Temporary breakpoint) \d+, /gm)?.length ?? 0;
  if (late || hits !== kill.stops.length || !said.includes('the place is reached')) {
    const what = late ? `not within ${kill.timeoutMs} ms` : `${hits} of its stops`;
    throw new Error(`gdb did not reach ${JSON.stringify(kill.stops)}: ${what}\n${said}`);
  }
}

function scriptOf({ pid, stops, passage, library, before, spared }: GdbKill): string {
  const lines = [`attach ${pid}`, 'handle all nostop noprint pass'];
  if (library !== undefined) lines.push(`sharedlibrary ${library}`);
  stops.forEach(({ at, when, does, finish }, index) => {
    lines.push(`tbreak ${at}${when === undefined ? '' : ` if ${when}`}`);
    if (index === 0 && passage > 1) lines.push(`ignore $bpnum ${passage - 1}`);
    if (index === 0) lines.push(`echo ${ARMED}\\n`);
    lines.push('continue');
    if (does !== undefined) lines.push(does);
    if (finish === true) lines.push('finish');
  });
  const end = spared === true ? 'detach' : 'kill';
  lines.push(`shell ${before}`, 'echo the place is reached\\n', end);
  return `${lines.join('\n')}\n`;
}
