// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a log, damaged or not, once and in constant memory, into rows (rows.ts) and
 * what a page shows beside them.
 */
import { icountOf } from '../base/position.ts';
import { type Batch, type BatchHeader, readDigest } from '../log/batch.ts';
import { describeContent } from '../log/describe.ts';
import { CLOCK, DIGEST_KIND, KIND, kindHasPayload, kindName } from '../log/kinds.ts';
import { digestText, type LogEnd, LogEndFinder } from '../log/log-end.ts';
import { type Damage, salvage } from '../log/salvage.ts';
import { type Gap, HELD_UNKNOWN, type Marker, type Place } from './format.ts';
import { HostClock } from './host-clock.ts';
import { IdleTime } from './idle-time.ts';
import { Rows } from './rows.ts';
import { ConsoleTail, Thinned } from './tail.ts';

/** Number of reasons kept; a hostile file has as many as it likes. */
const DAMAGE_MAX = 100;
const RECORD_BYTES = 32;
const DIGEST_BYTES = 40;

export interface Timeline {
  readonly rows: Rows;
  readonly start: Place;
  readonly end: Place;
  /** CLOCK_REALTIME, ns, of host time 0. */
  readonly hostEpochNs: bigint;
  readonly markers: readonly Marker[];
  readonly markersLeftOut: number;
  readonly gaps: readonly Gap[];
  readonly consoleTail: ConsoleTail;
  readonly vmId: string | null;
  readonly qemuBuildId: string | null;
  readonly logVersion: number | null;
  readonly segments: number;
  readonly batches: number;
  readonly records: number;
  /** Bytes of whole batch frames. */
  readonly logBytes: number;
  /** How it ended; null without END. */
  readonly logEnd: LogEnd | null;
  readonly damage: readonly Damage[];
  readonly damageCount: number;
  /** Times that the recording host's clock was set back. */
  readonly hostClockSetBack: number;
  /** Whether idle time, or held packets, are missing somewhere: the log begins late or has gaps. */
  readonly partly: boolean;
}

/** @param dir the folder of the segments */
export async function collect(dir: string, rowsMax?: number): Promise<Timeline> {
  const collector = new Collector(rowsMax);
  for await (const item of salvage(dir)) {
    if (item.what === 'damage') collector.damaged(item.damage);
    else if (item.what === 'segment')
      collector.segment(item.info.qemuBuildId, item.info.logVersion);
    else collector.batch(item.batch);
  }
  return collector.finish();
}

class Collector {
  readonly #rows: Rows;
  readonly #columns;
  readonly #kinds = new Map<number, Float64Array>();
  readonly #idle = new IdleTime();
  readonly #host = new HostClock();
  readonly #ends = new LogEndFinder();
  readonly #digests = new Thinned<Marker>();
  readonly #events = new Thinned<Marker>();
  readonly #console = new ConsoleTail();
  readonly #gaps: Gap[] = [];
  readonly #damage: Damage[] = [];
  #damageCount = 0;
  #lastReason: string | null = null;
  #start: Place = { icount: 0, vtimeNs: 0, hostNs: 0 };
  #at: Place = this.#start;
  #last: BatchHeader | null = null;
  #vmId: string | null = null;
  #qemuBuildId: string | null = null;
  #logVersion: number | null = null;
  #segments = 0;
  #batches = 0;
  #records = 0;
  #logBytes = 0;
  /** NET_OUT records since power-on; null where some are missing, until a digest counts them. */
  #packets: number | null = 0;
  #partly = false;
  #hasEnded = false;

  constructor(rowsMax?: number) {
    const rows = new Rows(rowsMax);
    this.#rows = rows;
    this.#columns = {
      logBytes: rows.column('logBytes'),
      netIn: rows.column('netInBytes'),
      netOut: rows.column('netOutBytes'),
      charIn: rows.column('charInBytes'),
      charOut: rows.column('charOutBytes'),
      idle: rows.column('idleNs'),
      step: rows.column('stepNs'),
      held: rows.column('held'),
    };
  }

  segment(qemuBuildId: string, logVersion: number): void {
    this.#segments += 1;
    this.#qemuBuildId ??= qemuBuildId;
    this.#logVersion ??= logVersion;
  }

  damaged(damage: Damage): void {
    this.#damageCount += 1;
    if (this.#damage.length < DAMAGE_MAX) this.#damage.push(damage);
    this.#lastReason ??= damage.reason;
  }

  batch(batch: Batch): void {
    const { header } = batch;
    if (this.#last === null) this.#begin(batch);
    else if (this.#lastReason !== null) this.#afterGap(batch, this.#lastReason);
    this.#lastReason = null;
    if (this.#last !== null && header.term !== this.#last.term) {
      this.#events.add({ ...this.#at, what: 'event', text: `term ${header.term}` });
    }
    this.#last = header;
    this.#ends.see(batch);
    this.#batches += 1;
    this.#records += header.recordCount;
    this.#logBytes += batch.bytes;
    this.#host.seal(header);
    let own = batch.bytes - header.recordCount * RECORD_BYTES;
    batch.scan((index, icount, vtimeNs, kind, channel, len, arg) => {
      const payload = kindHasPayload(kind) ? Math.ceil(len / 8) * 8 : 0;
      own -= payload;
      this.#record(kind, channel, len, arg, RECORD_BYTES + payload);
      this.#point(icount, vtimeNs);
      if (kind === KIND.CLOCK) this.#idle.set(channel, arg);
      else if (kind !== KIND.NET_IN && kind !== KIND.NET_OUT) this.#show(batch, index, kind);
    });
    this.#sealed(header, own);
  }

  finish(): Timeline {
    const rows = this.#rows;
    const { icount, vtimeNs } = this.#at;
    if (this.#lastReason !== null && this.#last !== null) {
      this.#gaps.push({ from: this.#at, to: this.#at, reason: this.#lastReason });
    }
    rows.finish();
    return {
      rows,
      start: this.#start,
      end: { icount, vtimeNs, hostNs: this.#at.hostNs },
      hostEpochNs: this.#host.epochNs,
      markers: [...this.#events.items, ...this.#digests.items],
      markersLeftOut: this.#events.leftOut + this.#digests.leftOut,
      gaps: this.#gaps,
      consoleTail: this.#console,
      vmId: this.#vmId,
      qemuBuildId: this.#qemuBuildId,
      logVersion: this.#logVersion,
      segments: this.#segments,
      batches: this.#batches,
      records: this.#records,
      logBytes: this.#logBytes,
      logEnd: this.#ends.end(),
      damage: this.#damage,
      damageCount: this.#damageCount,
      hostClockSetBack: this.#host.setBack,
      partly: this.#partly,
    };
  }

  /** The first batch: at power-on, or wherever the log that is left begins. */
  #begin(batch: Batch): void {
    const { header } = batch;
    this.#vmId = header.vmId;
    const isWhole = header.sequence === 0n;
    const first = header.recordCount > 0 ? batch.record(0) : null;
    const isOrigin = first?.kind === KIND.CLOCK && first.channel === CLOCK.ORIGIN;
    this.#host.begin(header, isWhole, isOrigin ? first.arg : null);
    if (isWhole) this.#idle.powerOn();
    else this.#jump(batch);
    const { icount, vtimeNs } = isWhole ? { icount: 0, vtimeNs: 0 } : firstPosition(batch);
    this.#start = { icount, vtimeNs, hostNs: this.#host.at(vtimeNs) };
    this.#at = this.#start;
  }

  #afterGap(batch: Batch, reason: string): void {
    const { icount, vtimeNs } = firstPosition(batch);
    const from = this.#at;
    this.#jump(batch);
    this.#host.jump(batch.header);
    // An order of batches that is wrong may also go back.
    this.#point(Math.max(icount, from.icount), Math.max(vtimeNs, from.vtimeNs));
    if (this.#gaps.length < DAMAGE_MAX) this.#gaps.push({ from, to: this.#at, reason });
  }

  #jump(batch: Batch): void {
    const { icount, vtimeNs } = firstPosition(batch);
    this.#idle.jump(icount, vtimeNs);
    this.#packets = null;
    this.#partly = true;
  }

  #record(kind: number, channel: number, len: number, arg: number, bytes: number): void {
    const rows = this.#rows;
    const columns = this.#columns;
    let column = this.#kinds.get(kind);
    if (column === undefined) {
      column = rows.column(`kind:${kind}`);
      this.#kinds.set(kind, column);
    }
    rows.add(column, 1);
    rows.add(columns.logBytes, bytes);
    if (kind === KIND.NET_IN) rows.add(columns.netIn, len);
    else if (kind === KIND.CHAR_OUT) rows.add(columns.charOut, len);
    else if (kind === KIND.CHAR_IN) rows.add(columns.charIn, len);
    else if (kind === KIND.CLOCK && channel === CLOCK.ORIGIN) this.#host.origin(arg);
    else if (kind === KIND.NET_OUT) {
      rows.add(columns.netOut, len);
      if (this.#packets !== null) this.#packets += 1;
    }
  }

  #point(icount: number, vtimeNs: number): void {
    const idle = this.#idle;
    idle.advance(icount, vtimeNs);
    if (idle.idleNs > 0) this.#rows.add(this.#columns.idle, idle.idleNs);
    if (idle.stepNs > 0) this.#rows.add(this.#columns.step, idle.stepNs);
    // Rows go one way, also where a hostile log does not.
    const hostNs = Math.max(this.#at.hostNs, this.#host.at(vtimeNs));
    const at = {
      icount: Math.max(this.#at.icount, icount),
      vtimeNs: Math.max(this.#at.vtimeNs, vtimeNs),
      hostNs,
    };
    this.#at = at;
    this.#rows.point(at.icount, at.vtimeNs, hostNs);
  }

  /** What is shown of one record by itself: digests, events, console text. */
  #show(batch: Batch, index: number, kind: number): void {
    if (kind === KIND.END) this.#hasEnded = true;
    if (kind === KIND.BLK_DONE || kind === KIND.ENTROPY || kind === KIND.CHAR_IN) return;
    const record = batch.record(index);
    if (kind === KIND.CHAR_OUT) {
      if (record.payload !== null) this.#console.append(record.payload);
    } else if (kind === KIND.DIGEST) {
      const isFinal = record.channel === DIGEST_KIND.FINAL;
      if (record.payload === null || record.payload.length < DIGEST_BYTES) return;
      const digest = readDigest(record.payload);
      this.#packets ??= Number(digest.outputsCount);
      const text = `${isFinal ? 'final ' : ''}${digestText(digest)}`;
      this.#digests.add({ ...this.#at, what: 'digest', text });
    } else {
      const text = `${kindName(kind)}: ${describeContent(record)}`;
      this.#events.add({ ...this.#at, what: 'event', text });
    }
  }

  /** The batch's end: its horizon, unless its records went beyond. */
  #sealed(header: BatchHeader, ownBytes: number): void {
    const rows = this.#rows;
    const horizonNs = Number(header.horizon.vtimeNs);
    rows.add(this.#columns.logBytes, ownBytes);
    const released = Number(header.outputsReleased);
    const held = this.#packets === null ? HELD_UNKNOWN : Math.max(0, this.#packets - released);
    rows.peak(this.#columns.held, held);
    const behindNs = this.#host.behindNs(horizonNs);
    // At its end the guest has stopped, and its time with it.
    // A log without an origin has no such column.
    if (behindNs !== null && !this.#hasEnded) rows.peak(rows.column('behindNs'), behindNs);
    const icount = Number(icountOf(header.horizon.point));
    const isAhead = icount >= this.#at.icount && horizonNs >= this.#at.vtimeNs;
    this.#point(isAhead ? icount : this.#at.icount, isAhead ? horizonNs : this.#at.vtimeNs);
  }
}

function firstPosition(batch: Batch): { icount: number; vtimeNs: number } {
  const { recordCount, horizon } = batch.header;
  const { point, vtimeNs } = recordCount === 0 ? horizon : batch.record(0);
  return { icount: Number(icountOf(point)), vtimeNs: Number(vtimeNs) };
}
