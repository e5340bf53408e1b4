// SPDX-License-Identifier: Apache-2.0
/** Daemon logs: JSON lines in a file of the state folder, or on stderr. */
import { pino } from 'pino';
import { RotatingFile } from './rotating-file.ts';

export type Logger = pino.Logger;

export interface LoggerOptions {
  /** Who speaks, e.g. "primary". */
  readonly name: string;
  /** File to append to; stderr when absent. */
  readonly file?: string;
  /** Default: UNDERSTUDY_LOG_LEVEL, else "info" to a file and "warn" to stderr. */
  readonly level?: string;
}

/** Size of a daemon's log, and of the one before it. */
const FILE_BYTES_MAX = 16 * 2 ** 20;

/**
 * To a file at once, and behind the daemon: the last lines before a SIGKILL are the ones wanted,
 * and a disk that hangs must not take the daemon with it. Nothing on the data path logs per record.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { name, file } = options;
  const fallback = file === undefined ? 'warn' : 'info';
  const level = options.level ?? process.env.UNDERSTUDY_LOG_LEVEL ?? fallback;
  if (file === undefined) return pino({ name, level }, pino.destination({ dest: 2, sync: true }));
  const lost = (lines: number): string =>
    `${JSON.stringify({ level: 40, time: Date.now(), name, event: 'log-lines-lost', lines })}\n`;
  return pino({ name, level }, new RotatingFile(file, FILE_BYTES_MAX, lost));
}

/** A logger that drops everything. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
