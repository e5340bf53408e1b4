// SPDX-License-Identifier: Apache-2.0
/** Logs in which every number is chosen, for tests of the timeline. */

import { type DraftRecord, writeBatch } from '../../bench/stand-ins/batches.ts';
import { writeFrames } from '../../bench/stand-ins/log-writer.ts';
import { VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { KIND, kindHasPayload } from '../../src/log/kinds.ts';

export interface TimedRecord {
  readonly icount: number;
  readonly vtimeNs: number;
  readonly kind: keyof typeof KIND;
  readonly channel?: number;
  readonly len?: number;
  readonly arg?: bigint;
  readonly payload?: Uint8Array;
}

export interface TimedBatch {
  readonly records: readonly TimedRecord[];
  readonly sealedAtNs: bigint;
  readonly outputsReleased?: number;
  /** Default: the last record's position. */
  readonly horizon?: { readonly icount: number; readonly vtimeNs: number };
}

function draft({ kind, payload, ...rest }: TimedRecord): DraftRecord {
  const ordinal = KIND[kind];
  const { channel = 0, len = 0, arg = 0n } = rest;
  const position = { icount: BigInt(rest.icount), vtimeNs: BigInt(rest.vtimeNs) };
  const bytes = kindHasPayload(ordinal) ? { payload: payload ?? new Uint8Array(len) } : {};
  return { ...position, kind: ordinal, channel, len, arg, ...bytes };
}

export function timedFrames(batches: readonly TimedBatch[]): Buffer[] {
  let recordBase = 0n;
  let dataBase = 0n;
  let prevChecksum = 0n;
  return batches.map(({ records, sealedAtNs, outputsReleased = 0, horizon }, index) => {
    const drafts = records.map(draft);
    const frame = writeBatch({
      vmId: VM_ID,
      sequence: BigInt(index),
      recordBase,
      dataBase,
      prevChecksum,
      records: drafts,
      sealedAtNs,
      outputsReleased: BigInt(outputsReleased),
      ...(horizon === undefined
        ? {}
        : { horizon: { icount: BigInt(horizon.icount), vtimeNs: BigInt(horizon.vtimeNs) } }),
    });
    recordBase += BigInt(drafts.length);
    for (const { payload } of drafts) dataBase += BigInt(Math.ceil((payload?.length ?? 0) / 8) * 8);
    prevChecksum = frame.readBigUInt64LE(32) ^ frame.readBigUInt64LE(40);
    return frame;
  });
}

export function writeTimed(dir: string, batches: readonly TimedBatch[]): void {
  writeFrames(dir, timedFrames(batches), WRITER);
}
