// SPDX-License-Identifier: Apache-2.0
/** Digests of epochs in a survivor's log. */
import { type Digest, readDigest } from '../../src/log/batch.ts';
import { CHECKPOINT_OF, KIND } from '../../src/log/kinds.ts';
import { LogReader } from '../../src/log/log-reader.ts';

export interface TakenOver {
  /** Ends of epochs with a digest, before the take-over. */
  readonly cuts: number;
  /** The last one's. */
  readonly last: Digest | null;
  /** The survivor's first record is there, and what it says of itself; null: it is no digest. */
  readonly hasGoneOn: boolean;
  readonly first: Digest | null;
}

export async function takenOver(dir: string): Promise<TakenOver> {
  let cuts = 0;
  let last: Digest | null = null;
  let digest: Digest | null = null;
  for await (const { batch } of new LogReader(dir, { tail: 'torn' })) {
    for (const { kind, channel, payload } of batch.records()) {
      if (kind === KIND.DIGEST && payload !== null) digest = readDigest(payload);
      if (batch.header.term > 1) {
        return { cuts, last, hasGoneOn: true, first: kind === KIND.DIGEST ? digest : null };
      }
      if (kind !== KIND.CHECKPOINT || channel !== CHECKPOINT_OF.EPOCH) continue;
      if (digest !== null) cuts += 1;
      last = digest;
      digest = null;
    }
  }
  return { cuts, last, hasGoneOn: false, first: null };
}
