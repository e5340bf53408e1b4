// SPDX-License-Identifier: Apache-2.0
/** How a log ended: its END record and the digest just before it. */
import { hex64 } from '../base/format.ts';
import type { Position } from '../base/position.ts';
import { type Batch, type Digest, readDigest } from './batch.ts';
import { DIGEST_KIND, END_REASON, KIND } from './kinds.ts';
import { LogReader } from './log-reader.ts';
import { listSegments } from './segment.ts';

export interface LogEnd extends Position {
  readonly reason: 'poweroff' | 'stop';
  readonly digest: string;
}

/** CPU, RAM, devices and the output hash chain, 16 hex digits each. */
export function digestText(digest: Digest): string {
  return [digest.cpu, digest.ram, digest.devices, digest.outputs].map(hex64).join('');
}

/** Keeps what is needed to tell, after the last batch, how the log ended. */
export class LogEndFinder {
  #last: Batch[] = [];

  /** Every batch, in order. */
  see(batch: Batch): void {
    // END and its digest are the last two records, so in the last two batches
    // that have records at all.
    if (batch.header.recordCount > 0) this.#last = [...this.#last.slice(-1), batch];
  }

  /** Null when the log has no END: its recorder or primary was killed. */
  end(): LogEnd | null {
    let digest: string | null = null;
    for (const batch of this.#last) {
      for (const record of batch.records()) {
        const final = record.kind === KIND.DIGEST && record.channel === DIGEST_KIND.FINAL;
        if (final && record.payload !== null) {
          digest = digestText(readDigest(record.payload));
        }
        if (record.kind !== KIND.END || digest === null) continue;
        const reason = record.channel === END_REASON.POWEROFF ? 'poweroff' : 'stop';
        return { reason, point: record.point, vtimeNs: record.vtimeNs, digest };
      }
    }
    return null;
  }
}

/** How a log ended, from its last two segments: what comes before is not read. */
export async function readLogEnd(dir: string): Promise<LogEnd | null> {
  const finder = new LogEndFinder();
  const fromIndex = (await listSegments(dir)).at(-2)?.index ?? 'oldest';
  for await (const { batch } of new LogReader(dir, { tail: 'torn', fromIndex })) finder.see(batch);
  return finder.end();
}
