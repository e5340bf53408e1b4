// SPDX-License-Identifier: Apache-2.0
/** What commands print: text for people, one JSON object for `--json`, errors. */

import { colour, colourStderr } from '../base/colour.ts';
import {
  type ExitCode,
  errorCodeOf,
  exitCodeOf,
  messageOf,
  UnderstudyError,
} from '../base/errors.ts';
import { toJson } from '../base/format.ts';

/** One JSON object, on one line, and nothing else on stdout. */
export function printJson(value: object): void {
  process.stdout.write(`${toJson(value)}\n`);
}

/** Progress and remarks: stderr, so that stdout stays data. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Two columns, aligned: `  name   value`. */
export function printFacts(facts: ReadonlyArray<readonly [string, string]>): void {
  const width = Math.max(...facts.map(([name]) => name.length));
  for (const [name, value] of facts) {
    process.stdout.write(`  ${colour.dim(name.padEnd(width))}  ${value}\n`);
  }
}

/**
 * Prints what was thrown and returns the exit code for it. An operating error is
 * its message; anything else is a bug of ours and shows its stack.
 */
export function reportError(error: unknown, json: boolean): ExitCode {
  const exitCode = exitCodeOf(error);
  if (json) {
    printJson({
      error: {
        code: errorCodeOf(error) ?? 'failure',
        message: messageOf(error),
        exit_code: exitCode,
        ...(error instanceof UnderstudyError ? error.details : {}),
      },
    });
  }
  const text = isOurs(error) ? messageOf(error) : stackOf(error);
  say(`${colourStderr.red('understudy:')} ${text}`);
  return exitCode;
}

/** Errors with a registered code, also those of modules with a class of their own. */
function isOurs(error: unknown): boolean {
  return error instanceof UnderstudyError || errorCodeOf(error) !== null;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
