// SPDX-License-Identifier: Apache-2.0
/**
 * A new log: its folder and its first file (segment.ts). The courier appends to it
 * and goes on to the next files; see native/kvm-exit-log/addon/store/segment.cc.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LogStart } from '../../native/kvm-exit-log/index.ts';
import { UnderstudyError, writeError } from '../base/errors.ts';
import { LOG_VERSION } from './batch.ts';
import { isSegmentName, SEGMENT_BYTES_MAX, segmentName, writeSegmentHeader } from './segment.ts';

export interface LogFileOptions {
  readonly vmId: Uint8Array;
  readonly term: number;
  readonly qemuBuildId: string;
  readonly agentVersion?: string;
  /** Sequence of the first batch; default 0, power-on. */
  readonly firstSequence?: bigint;
  /** A file is finished before it grows beyond this; default 64 MiB. */
  readonly segmentBytesMax?: number;
}

export class LogFile {
  readonly start: LogStart;
  #open = true;

  /** @throws UnderstudyError output-exists, disk-full, log-write */
  constructor(dir: string, options: LogFileOptions) {
    const path = join(dir, segmentName(1));
    try {
      mkdirSync(dir, { recursive: true });
    } catch (cause) {
      throw writeError(`the exit log ${dir}`, cause);
    }
    if (readdirSync(dir).some(isSegmentName)) {
      throw new UnderstudyError('output-exists', `${dir} has an exit log already`);
    }
    const header = writeSegmentHeader({
      vmId: options.vmId,
      logVersion: LOG_VERSION,
      term: options.term,
      index: 1,
      firstSequence: options.firstSequence ?? 0n,
      createdAtNs: BigInt(Date.now()) * 1_000_000n,
      qemuBuildId: options.qemuBuildId,
      agentVersion: options.agentVersion ?? '',
    });
    let fd: number;
    try {
      fd = openSync(path, 'wx+');
      for (let at = 0; at < header.length; ) at += writeSync(fd, header, at);
      syncDir(dir);
    } catch (cause) {
      throw writeError(`the exit log ${path}`, cause);
    }
    const bytesMax = options.segmentBytesMax ?? SEGMENT_BYTES_MAX;
    this.start = { fd, dir, index: 1, offset: header.length, bytesMax, header };
  }

  /** Closes this process's descriptor; a courier has its own. Idempotent. */
  close(): void {
    if (this.#open) closeSync(this.start.fd);
    this.#open = false;
  }
}

/** What the courier's thread could not write, as an operating error. */
export function logError(errno: string, path: string): UnderstudyError {
  if (errno === 'ENOMEM') return new UnderstudyError('log-write', `no memory for ${path}`);
  const cause = Object.assign(new Error(`${errno}: write`), { code: errno });
  return writeError(`${kindOf(path)}${path}`, cause);
}

/** Before a path; others are images and folders, and tell by themselves. */
function kindOf(path: string): string {
  if (/\.udl\b/.test(path)) return 'the exit log ';
  return /\.journal\b/.test(path) ? 'the disk journal ' : '';
}

/** A new file's name is not made durable by its own fsync. */
function syncDir(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
