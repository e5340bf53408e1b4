// SPDX-License-Identifier: Apache-2.0
// Child processes for the bootstrap: output captured, last lines shown on failure.

import { spawn, spawnSync } from 'node:child_process';

/** A step that could not be done; `message` names the command and its last lines. */
export class StepError extends Error {
  /** @param {string} message @param {number} [exitCode] */
  constructor(message, exitCode = 1) {
    super(message);
    this.name = 'StepError';
    this.exitCode = exitCode;
  }
}

/** Standard output of a command that must succeed, trimmed. */
export function output(command, args, options = {}) {
  const r = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, LC_ALL: 'C' },
    ...options,
  });
  if (r.error) throw new StepError(`${command}: ${r.error.message}`);
  if (r.status !== 0) {
    throw new StepError(`${command} ${args.join(' ')} failed (${r.status}):\n${tail(r.stderr)}`);
  }
  return r.stdout.trim();
}

/** Like {@link output}, but undefined when the command is missing or fails. */
export function tryOutput(command, args, options = {}) {
  try {
    return output(command, args, options);
  } catch {
    return undefined;
  }
}

/**
 * Runs a long command.  Every line goes to `onLine`; the first 20 and the
 * last 40 are in the error when it fails.  Nothing reaches our own stdout.
 */
export function run(command, args, { onLine = () => {}, cwd, env, log } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, LC_ALL: 'C', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const first = [];
    const last = [];
    const take = (stream) => {
      let rest = '';
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        // ninja rewrites its line with \r when it believes in a terminal.
        const lines = (rest + chunk).split(/[\r\n]+/);
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (first.length < 20) first.push(line);
          else last.push(line);
          if (last.length > 40) last.shift();
          log?.write(`${line}\n`);
          onLine(line);
        }
      });
      stream.on('end', () => {
        if (rest !== '') last.push(rest);
      });
    };
    take(child.stdout);
    take(child.stderr);
    child.on('error', (e) => reject(new StepError(`${command}: ${e.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(undefined);
      else {
        const how = signal ?? `exit ${code}`;
        reject(
          new StepError(
            `${command} ${args.join(' ')} failed (${how}):\n${[...first, ...last].join('\n')}`,
          ),
        );
      }
    });
  });
}

function tail(text, lines = 40) {
  return (text ?? '').trimEnd().split('\n').slice(-lines).join('\n');
}
