// SPDX-License-Identifier: Apache-2.0
/** Small logs on disk for tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LogReader, type LogReaderOptions } from '../../src/log/log-reader.ts';
import { producedRecords, writeLog } from './batches.ts';
import { writeFrames as write } from './log-writer.ts';

export const VM_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const WRITER = { vmId: VM_ID, term: 1, qemuBuildId: 'abcd', agentVersion: '0.1.0' };

const made: string[] = [];
process.on('exit', () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

export function tempDir(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `understudy-${name}-`));
  made.push(dir);
  return dir;
}

/** Batches of `perBatch` small records each. */
export function someFrames(batches: number, perBatch = 2, payloadMax = 12, seed = 3n): Buffer[] {
  return writeLog(VM_ID, [...producedRecords(seed, batches * perBatch, payloadMax)], perBatch);
}

export async function writeFrames(
  dir: string,
  frames: readonly Buffer[],
  options: { segmentBytesMax?: number } = {},
): Promise<void> {
  write(dir, frames, { ...WRITER, ...options });
}

/** Sequences that can be read, and what the reader knows at the end. */
export async function readLog(
  dir: string,
  options: LogReaderOptions = {},
): Promise<{ sequences: bigint[]; reader: LogReader }> {
  const reader = new LogReader(dir, options);
  const sequences: bigint[] = [];
  for await (const { batch } of reader) sequences.push(batch.header.sequence);
  return { sequences, reader };
}
