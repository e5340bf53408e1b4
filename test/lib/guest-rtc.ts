// SPDX-License-Identifier: Apache-2.0
/** A guest that tells its RTC (rtc-clock.c), and how far that is from this host's clock. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Cpio } from '../../scripts/lib/cpio.mjs';
import { DemoChild } from '../../src/lab/child.ts';
import { root } from './command.ts';

/** Where rtc-clock answers; with 1 on top, the one that looks at the guest's timers. */
export const RTC_PORT = 7771;
export const TICK_PORT = 7772;
export const START_RTC_CLOCK = `rtc-clock ${RTC_PORT} &\n`;
export const START_TICKS = `rtc-clock ${TICK_PORT} 2000 &\n`;
export const SAYS_READY = `rtc-clock: ready ${RTC_PORT}`;
export const TICKS_READY = `rtc-clock: ready ${TICK_PORT}`;

/** The reference guest's initrd with rtc-clock; Linux unpacks one archive over the other. */
export function initrdWithRtcClock(initrd: string, dir: string): string {
  const program = join(dir, 'rtc-clock');
  const source = join(root, 'test/lib/rtc-clock.c');
  execFileSync('gcc', ['-static', '-O2', '-Wall', '-Werror', '-s', '-o', program, source]);
  const cpio = new Cpio();
  cpio.file('bin/rtc-clock', readFileSync(program), 0o755);
  const base = readFileSync(initrd);
  const path = join(dir, 'initrd.gz');
  const pad = Buffer.alloc(-base.length & 3);
  writeFileSync(path, Buffer.concat([base, pad, gzipSync(cpio.bytes())]));
  return path;
}

/** One answer; ms, of this host's time of day. */
export interface RtcSample {
  readonly sentMs: number;
  readonly rttMs: number;
  /** The guest's RTC less the host's clock when it was asked: in truth it is up to rttMs less. */
  readonly aheadMs: number;
  /** The same of the guest's own clock. */
  readonly systemAheadMs: number;
  /** The longest time between two ticks since the answer before. */
  readonly gapMs: number;
  readonly back: number;
  /** Whether the RTC was read again for it. */
  readonly edge: boolean;
}

/** The sample as a host sees it whose clock is so much ahead of this one. */
export function rtcOf(sample: RtcSample, offMs: number): RtcSample {
  const { aheadMs, systemAheadMs } = sample;
  return { ...sample, aheadMs: aheadMs - offMs, systemAheadMs: systemAheadMs - offMs };
}

/** How far it is off at least: what the round trip cannot explain, ahead positive. */
export function offMs({ aheadMs, rttMs }: RtcSample): number {
  if (aheadMs < 0) return aheadMs;
  return aheadMs > rttMs ? aheadMs - rttMs : 0;
}

export interface RtcFigures {
  readonly answers: number;
  /** What cannot be explained by the way: the worst of all, and 19 of 20. */
  readonly worst_ms: number;
  readonly p95_ms: number;
  /** As if it was read half way, of the quicker half: the median. */
  readonly median_ms: number;
  readonly rtt_ms: number;
  /** Result after the RTC was read again, at the end; null: it was not. */
  readonly reread_ms: number | null;
  /** The guest's own clock (`date`): Linux takes whole seconds from the RTC. */
  readonly date_ms: number;
}

export function figuresOf(samples: readonly RtcSample[]): RtcFigures {
  const plain = samples.filter(({ edge }) => !edge);
  if (plain.length === 0) throw new Error('the guest does not tell its RTC');
  const off = plain.map((sample) => Math.abs(offMs(sample))).sort((a, b) => a - b);
  const quick = [...plain].sort((a, b) => a.rttMs - b.rttMs);
  const half = quick.slice(0, Math.ceil(quick.length / 2));
  const after = samples.findLastIndex(({ edge }) => edge);
  const reread = after < 0 ? [] : samples.slice(after + 1);
  return {
    answers: plain.length,
    worst_ms: round(off.at(-1) ?? Number.NaN),
    p95_ms: round(off[Math.floor(off.length * 0.95)] ?? Number.NaN),
    median_ms: round(median(half.map(({ aheadMs, rttMs }) => aheadMs - rttMs / 2))),
    rtt_ms: round(median(plain.map(({ rttMs }) => rttMs))),
    reread_ms: reread.length === 0 ? null : round(median(reread.map(midway))),
    date_ms: round(median(half.map(({ systemAheadMs, rttMs }) => systemAheadMs - rttMs / 2))),
  };
}

export function midway({ aheadMs, rttMs }: RtcSample): number {
  return aheadMs - rttMs / 2;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

export function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

export class GuestRtc {
  readonly samples: RtcSample[] = [];
  readonly #child: DemoChild;

  constructor(prefix: readonly string[], address: string, port: number, intervalS: number) {
    const program = join(root, 'test/lib/rtc-times.py');
    const words = ['/usr/bin/python3', program, address, String(port), String(intervalS)];
    this.#child = new DemoChild(prefix, { words, onStdout: (line) => this.#heard(line) });
  }

  #heard(line: string): void {
    const ns = JSON.parse(line) as Record<string, number> & { edge: boolean };
    const { sent = 0, rtt = 0, rtc = 0, system = 0, gap = 0, back = 0 } = ns;
    this.samples.push({
      sentMs: sent / 1e6,
      rttMs: rtt / 1e6,
      aheadMs: (rtc - sent) / 1e6, // both near 2^61: the difference is right to 0.5 us
      systemAheadMs: (system - sent) / 1e6,
      gapMs: gap / 1e6,
      back,
      edge: ns.edge,
    });
  }

  /** The guest reads its RTC again, and then answers this often. */
  async reread(answers: number): Promise<void> {
    this.#child.write('edge\n');
    const seen = this.samples.length;
    const edge = (): number => this.samples.findIndex((one, at) => at >= seen && one.edge);
    await this.until('it has read its RTC', () => edge() >= 0);
    await this.until('it answers', () => this.samples.length > edge() + answers);
  }

  async until(what: string, holds: () => boolean, timeoutMs = 20_000): Promise<void> {
    const untilMs = performance.now() + timeoutMs;
    while (!holds()) {
      if (this.#child.end !== null) throw new Error(this.#child.lastWords);
      if (performance.now() > untilMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    this.#child.kill();
    await this.#child.ended;
  }
}
