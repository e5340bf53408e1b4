// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a run that was protected by checkpoints was what it claims to be. Its backup has
 * executed nothing, so that nothing can be replayed: wherever the primary made a digest of its
 * memory (`digest_every`), the backup compared its image, and ends with exit code 10 if that
 * differs. Here it is seen that there were such digests up to the end, and that both sides'
 * disks are the same bytes.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { sincePowerOn } from '../../src/base/position.ts';
import type { Batch } from '../../src/log/batch.ts';
import { DIGEST_KIND, KIND } from '../../src/log/kinds.ts';
import { LogEndFinder } from '../../src/log/log-end.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import type { Harvest } from './system.ts';

/** @param log folder of the backup's logs, of which it has one. @param disks whether they are equal */
export async function verifyImage(logs: string, disks: boolean): Promise<Harvest> {
  const [name, ...others] = readdirSync(logs);
  if (name === undefined || others.length > 0) {
    throw new Error(`the backup has ${others.length + (name === undefined ? 0 : 1)} logs`);
  }
  const finder = new LogEndFinder();
  const facts = { records: 0, batches: 0, log_bytes: 0, digests: 0 };
  for await (const { batch } of new LogReader(join(logs, name), { tail: 'whole' })) {
    finder.see(batch);
    facts.records += batch.header.recordCount;
    facts.batches += 1;
    facts.log_bytes += batch.frame.length;
    if (endsWithDigest(batch)) facts.digests += 1;
  }
  const end = finder.end();
  const image = end !== null && facts.digests > 0;
  return {
    facts: { ...facts, ...(end === null ? {} : { instructions: Number(sincePowerOn(end.point)) }) },
    verification: { replay: null, image, disks },
    problem:
      end === null
        ? "the backup's log has no END: it did not follow until the power-off"
        : facts.digests === 0
          ? "no epoch had a digest: nothing says that the backup's image was the primary's memory"
          : disks
            ? null
            : "the two sides' disks differ after the power-off",
  };
}

/** An epoch with a digest has it right before the record that ends it; so the backup looks. */
function endsWithDigest(batch: Batch): boolean {
  const [digest, cut] = [...batch.records()].slice(-2);
  const isPeriodic = digest?.kind === KIND.DIGEST && digest.channel === DIGEST_KIND.PERIODIC;
  return isPeriodic && cut?.kind === KIND.CHECKPOINT;
}
