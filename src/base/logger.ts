// SPDX-License-Identifier: Apache-2.0
/** Daemon logs: JSON lines in a file of the state folder, or on stderr. */
import { pino } from 'pino';

export type Logger = pino.Logger;

export interface LoggerOptions {
  /** Who speaks, e.g. "primary". */
  readonly name: string;
  /** File to append to; stderr when absent. */
  readonly file?: string;
  /** Default: UNDERSTUDY_LOG_LEVEL, else "info" to a file and "warn" to stderr. */
  readonly level?: string;
}

/**
 * Synchronous on purpose: the last lines before a SIGKILL are the ones wanted,
 * and nothing on the data path logs per record.
 */
export function createLogger(options: LoggerOptions): Logger {
  const fallback = options.file === undefined ? 'warn' : 'info';
  const level = options.level ?? process.env.UNDERSTUDY_LOG_LEVEL ?? fallback;
  const destination = pino.destination({
    dest: options.file ?? 2,
    sync: true,
    mkdir: true,
  });
  return pino({ name: options.name, level }, destination);
}

/** A logger that drops everything. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
