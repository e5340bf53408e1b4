// SPDX-License-Identifier: Apache-2.0
/** What is in a log, in numbers: positions, sizes, records by kind, damage. */
import type { Position } from '../base/position.ts';
import type { LogRecord } from './batch.ts';
import { CLOCK, KIND } from './kinds.ts';
import { type LogEnd, LogEndFinder } from './log-end.ts';
import { type Damage, salvage } from './salvage.ts';

export interface KindSummary {
  count: number;
  bytes: number;
}

export interface LogSummary {
  readonly vmId: string | null;
  readonly logVersion: number | null;
  readonly qemuBuildId: string | null;
  readonly segments: number;
  /** 1, or later when a daemon has deleted older ones; null when no header can be read. */
  readonly firstSegment: number | null;
  readonly batches: number;
  readonly records: number;
  /** Bytes of whole frames. */
  readonly bytes: number;
  readonly payloadBytes: number;
  readonly first: Position | null;
  readonly last: Position | null;
  readonly horizon: Position | null;
  /** Between the first and the last seal, by the recording host's clock. */
  readonly wallS: number;
  readonly end: LogEnd | null;
  /** CLOCK_REALTIME at guest time 0, as the RTC was set; null: an older log, or a later part. */
  readonly rtcNs: bigint | null;
  /** Summaries by ordinal of the kind. */
  readonly byKind: ReadonlyMap<number, KindSummary>;
  readonly damage: readonly Damage[];
}

/** Reads a log, damaged or not. @param onRecord called for each record, in order */
export async function summarise(
  dir: string,
  onRecord: (record: LogRecord) => void,
): Promise<LogSummary> {
  const byKind = new Map<number, KindSummary>();
  const damage: Damage[] = [];
  const ends = new LogEndFinder();
  let vmId: string | null = null;
  let logVersion: number | null = null;
  let qemuBuildId: string | null = null;
  let first: Position | null = null;
  let last: Position | null = null;
  let horizon: Position | null = null;
  let rtcNs: bigint | null = null;
  let firstSealNs: bigint | null = null;
  let lastSealNs = 0n;
  let segments = 0;
  let firstSegment: number | null = null;
  let batches = 0;
  let records = 0;
  let bytes = 0;
  let payloadBytes = 0;
  for await (const item of salvage(dir)) {
    if (item.what === 'damage') {
      damage.push(item.damage);
      continue;
    }
    if (item.what === 'segment') {
      segments += 1;
      firstSegment ??= item.info.index;
      qemuBuildId ??= item.info.qemuBuildId;
      logVersion ??= item.info.logVersion;
      continue;
    }
    const { header } = item.batch;
    ends.see(item.batch);
    vmId ??= header.vmId;
    batches += 1;
    bytes += item.batch.bytes;
    horizon = { icount: header.horizonIcount, vtimeNs: header.horizonVtimeNs };
    firstSealNs ??= header.sealedAtNs;
    lastSealNs = header.sealedAtNs;
    for (const record of item.batch.records()) {
      const { icount, vtimeNs, kind, payload } = record;
      if (kind === KIND.CLOCK && record.channel === CLOCK.RTC) rtcNs ??= record.arg;
      first ??= { icount, vtimeNs };
      last = { icount, vtimeNs };
      records += 1;
      const length = payload?.length ?? 0;
      payloadBytes += length;
      const sum = byKind.get(kind) ?? { count: 0, bytes: 0 };
      sum.count += 1;
      sum.bytes += length;
      byKind.set(kind, sum);
      onRecord(record);
    }
  }
  return {
    vmId,
    logVersion,
    qemuBuildId,
    // A segment of which the header is damaged is a segment all the same.
    segments: Math.max(segments, damage.length > 0 ? 1 : 0),
    firstSegment,
    batches,
    records,
    bytes,
    payloadBytes,
    first,
    last,
    horizon,
    wallS: Number(lastSealNs - (firstSealNs ?? lastSealNs)) / 1e9,
    end: ends.end(),
    rtcNs,
    byKind: new Map([...byKind].sort(([a], [b]) => a - b)),
    damage,
  };
}
