// SPDX-License-Identifier: Apache-2.0
/** Writes logs for tests of their readers. The product's writer is the courier. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LOG_VERSION, readBatchHeader } from '../../src/log/batch.ts';
import { LogFile, type LogFileOptions } from '../../src/log/log-file.ts';
import { segmentName, writeSegmentHeader } from '../../src/log/segment.ts';

export function writeFrames(dir: string, frames: readonly Buffer[], options: LogFileOptions): void {
  const first = new LogFile(dir, options);
  let { index, offset } = first.start;
  let fd = openSync(join(dir, segmentName(index)), 'a');
  first.close();
  let hasBatch = false;
  for (const frame of frames) {
    if (hasBatch && offset + frame.length > first.start.bytesMax) {
      closeSync(fd);
      index += 1;
      const header = writeSegmentHeader({
        ...options,
        agentVersion: options.agentVersion ?? '',
        logVersion: LOG_VERSION,
        index,
        firstSequence: readBatchHeader(frame, 0).sequence,
        createdAtNs: 0n,
      });
      fd = openSync(join(dir, segmentName(index)), 'wx');
      offset = writeSync(fd, header);
    }
    offset += writeSync(fd, frame);
    hasBatch = true;
  }
  closeSync(fd);
}
