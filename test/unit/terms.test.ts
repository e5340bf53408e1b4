// SPDX-License-Identifier: Apache-2.0
/** A log through terms: where each begins, and how far a batch takes it. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DraftRecord, writeBatch, writeLog } from '../../bench/stand-ins/batches.ts';
import { tempDir, VM_ID, writeFrames } from '../../bench/stand-ins/logs.ts';
import { atIcount } from '../../src/base/position.ts';
import { Batch, readBatchHeader } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { summarise } from '../../src/log/summary.ts';

const recordAt = (icount: bigint): DraftRecord => ({
  icount,
  vtimeNs: 2n * icount,
  kind: KIND.BLK_DONE,
  channel: 0,
  len: 0,
  arg: 0n,
});

/** What follows `frame`. */
function after(frame: Buffer, term: number, records: readonly DraftRecord[], horizon: bigint) {
  const { sequence, recordEnd, dataBase, dataBytes, checksum } = readBatchHeader(frame, 0);
  return writeBatch({
    vmId: VM_ID,
    term,
    sequence: sequence + 1n,
    recordBase: recordEnd,
    dataBase: dataBase + BigInt(dataBytes),
    prevChecksum: checksum,
    records,
    horizon: { icount: horizon, vtimeNs: 2n * horizon },
  });
}

const terms = suite('terms');

terms('each begins with its first batch, at its first record or its horizon', async () => {
  const first = writeLog(VM_ID, [recordAt(10n), recordAt(20n)], 1);
  const second = after(first[1] as Buffer, 2, [recordAt(30n)], 31n);
  const third = after(second, 2, [recordAt(40n)], 40n);
  const fourth = after(third, 4, [], 55n);
  const dir = join(tempDir('terms'), 'log');
  await writeFrames(dir, [...first, second, third, fourth]);
  const { terms, damage } = await summarise(dir, () => {});
  assert.equal(damage, []);
  assert.equal(
    terms.map(({ term, sequence, point }) => [term, sequence, point]),
    [
      [1, 0n, atIcount(10n)],
      [2, 2n, atIcount(30n)],
      [4, 4n, atIcount(55n)],
    ],
  );
});

terms('a log is complete up to its horizon, or to a record beyond it', () => {
  const [first] = writeLog(VM_ID, [recordAt(10n)], 1);
  const covered = (records: readonly DraftRecord[], horizon: bigint) => {
    const frame = after(first as Buffer, 1, records, horizon);
    return Batch.open(frame, 0, frame.length).covered;
  };
  assert.equal(covered([recordAt(30n)], 12n), { point: atIcount(30n), vtimeNs: 60n });
  assert.equal(covered([recordAt(30n)], 31n), { point: atIcount(31n), vtimeNs: 62n });
  assert.equal(covered([], 31n), { point: atIcount(31n), vtimeNs: 62n });
});

terms.run();
