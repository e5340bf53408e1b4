// SPDX-License-Identifier: Apache-2.0
/** What is in a log, in numbers: positions, sizes, records by kind, damage. */
import { icountOf, type Position } from '../base/position.ts';
import type { Batch, LogRecord } from './batch.ts';
import { CLOCK, KIND } from './kinds.ts';
import { type LogEnd, LogEndFinder } from './log-end.ts';
import { type Damage, salvage } from './salvage.ts';
import type { SegmentInfo } from './segment.ts';
import { type TermStart, TermStarts } from './terms.ts';

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
  readonly terms: readonly TermStart[];
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
  const sum = new Sum();
  for await (const item of salvage(dir)) {
    if (item.what === 'damage') sum.damage.push(item.damage);
    else if (item.what === 'segment') sum.segment(item.info);
    else sum.batch(item.batch, onRecord);
  }
  return sum.summary();
}

class Sum {
  readonly damage: Damage[] = [];
  readonly #byKind = new Map<number, KindSummary>();
  readonly #ends = new LogEndFinder();
  readonly #terms = new TermStarts();
  #vmId: string | null = null;
  #logVersion: number | null = null;
  #qemuBuildId: string | null = null;
  #first: Position | null = null;
  #last: Position | null = null;
  #horizon: Position | null = null;
  #rtcNs: bigint | null = null;
  #firstSealNs: bigint | null = null;
  #lastSealNs = 0n;
  #segments = 0;
  #firstSegment: number | null = null;
  #batches = 0;
  #records = 0;
  #bytes = 0;
  #payloadBytes = 0;

  segment(info: SegmentInfo): void {
    this.#segments += 1;
    this.#firstSegment ??= info.index;
    this.#qemuBuildId ??= info.qemuBuildId;
    this.#logVersion ??= info.logVersion;
  }

  batch(batch: Batch, onRecord: (record: LogRecord) => void): void {
    const { vmId, horizon, sealedAtNs } = batch.header;
    this.#ends.see(batch);
    this.#terms.see(batch.header);
    this.#vmId ??= vmId;
    this.#batches += 1;
    this.#bytes += batch.bytes;
    this.#horizon = horizon;
    this.#firstSealNs ??= sealedAtNs;
    this.#lastSealNs = sealedAtNs;
    for (const record of batch.records()) {
      this.#record(record);
      onRecord(record);
    }
  }

  #record({ point, vtimeNs, kind, channel, arg, payload }: LogRecord): void {
    if (kind === KIND.CLOCK && channel === CLOCK.RTC) this.#rtcNs ??= arg;
    this.#last = { point, vtimeNs };
    this.#first ??= this.#last;
    this.#records += 1;
    const length = payload?.length ?? 0;
    this.#payloadBytes += length;
    const sum = this.#byKind.get(kind) ?? { count: 0, bytes: 0 };
    sum.count += 1;
    sum.bytes += length;
    this.#byKind.set(kind, sum);
  }

  summary(): LogSummary {
    return {
      vmId: this.#vmId,
      logVersion: this.#logVersion,
      qemuBuildId: this.#qemuBuildId,
      // A segment of which the header is damaged is a segment all the same.
      segments: Math.max(this.#segments, this.damage.length > 0 ? 1 : 0),
      firstSegment: this.#firstSegment,
      batches: this.#batches,
      terms: this.#terms.list,
      records: this.#records,
      bytes: this.#bytes,
      payloadBytes: this.#payloadBytes,
      first: this.#first,
      last: this.#last,
      horizon: this.#horizon,
      wallS: Number(this.#lastSealNs - (this.#firstSealNs ?? this.#lastSealNs)) / 1e9,
      end: this.#ends.end(),
      rtcNs: this.#rtcNs,
      byKind: new Map([...this.#byKind].sort(([a], [b]) => a - b)),
      damage: this.damage,
    };
  }
}

/** As `inspect --json` has a position. */
export function positionJson(position: Position | null) {
  if (position === null) return null;
  return { icount: icountOf(position.point), vtimeNs: position.vtimeNs };
}
