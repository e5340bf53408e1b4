// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's time of day: its RTC shows the host's clock from power-on, also where the
 * daemon waited long for its backup; what a failover to a host with another clock, or a
 * step of the host's own, changes in it is slewed and never a gap. One VM goes through all
 * of it. npm run campaign:clock has the figures over longer times.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClockedHosts } from '../lib/clocked-hosts.ts';
import { scratch } from '../lib/command.ts';
import { figuresOf, type GuestRtc } from '../lib/guest-rtc.ts';
import type { Host } from '../lib/two-hosts.ts';

const time = suite('absolute time');

/** How far a guest's time of day may be from its host's. */
const RIGHT_MS = 20;
/** exitlog/core/clock-host.c: 5 %. */
const SLEW = 1 / 20;
/** A stall of a failover, on a host that does other things too. */
const GAP_MS_MAX = 400;
const SKEW_MS = 1500;

let pair: ClockedHosts;
let rtc: GuestRtc;
let ticks: GuestRtc;

/** How far the RTC is ahead of this host's clock: the median of the newest answers. */
async function rtcAheadMs(): Promise<number> {
  const from = rtc.samples.length;
  await rtc.until('it tells its RTC', () => rtc.samples.length >= from + 25);
  return figuresOf(rtc.samples.slice(from)).median_ms;
}

/** The side whose VM is live dies. @returns the longest gap in the guest's timers then */
async function failOver(from: Host, to: Host): Promise<number> {
  const seen = ticks.samples.length;
  await pair.hosts.crash(from);
  await pair.hosts.until(to, 'needs-backup', 20_000);
  await ticks.until('its timers run on', () => ticks.samples.length > seen + 20);
  return Math.max(...ticks.samples.slice(seen).map(({ gapMs }) => gapMs));
}

/** Until the VM has the time of day of its host. */
async function settled(host: Host, timeoutMs: number): Promise<void> {
  const untilMs = performance.now() + timeoutMs;
  for (;;) {
    const behindMs = (await pair.hosts.status(host))?.guest_clock_behind_ms;
    if (typeof behindMs === 'number' && Math.abs(behindMs) < 2) return;
    if (performance.now() > untilMs) throw new Error(`still ${behindMs} ms behind`);
    await sleep(50);
  }
}

time.before(async () => {
  pair = new ClockedHosts({ dir: scratch('absolute-time'), skewMs: SKEW_MS });
  // The daemon waits for its backup: the RTC is of power-on all the same.
  await pair.startRtc({ backupAfterMs: 1700 });
  await pair.startTicks('a');
  rtc = pair.rtc(0.02);
  ticks = pair.ticks(0.05);
});

time.after(async () => {
  await Promise.all([rtc?.stop(), ticks?.stop()]);
  await pair?.end();
});

time("the RTC has the host's time from power-on, however long the backup took", async () => {
  const aheadMs = await rtcAheadMs();
  assert.ok(Math.abs(aheadMs) <= RIGHT_MS, `${aheadMs} ms ahead`);
  const { clock_skew_ms: told } = (await pair.hosts.status('a')) ?? {};
  assert.ok(Math.abs((told ?? 0) - SKEW_MS) < 100, `status: clock_skew_ms ${told}`);
});

time("a survivor's clock is 1.5 s ahead: no gap but the stall, then slewed by 5 %", async () => {
  await ticks.until('its timers run', () => ticks.samples.length > 5);
  const fromMs = performance.now();
  const gapMs = await failOver('a', 'b');
  assert.ok(gapMs < GAP_MS_MAX, `a gap of ${gapMs} ms in its timers`);
  await sleep(1500);
  const slewedMs = await rtcAheadMs();
  const mostMs = (performance.now() - fromMs) * SLEW + RIGHT_MS;
  assert.ok(slewedMs > 50 && slewedMs < mostMs, `slewed by ${slewedMs} ms, at most ${mostMs}`);
  const { guest_clock_behind_ms: told } = (await pair.hosts.status('b')) ?? {};
  const leftMs = SKEW_MS - slewedMs;
  assert.ok(Math.abs((told ?? 0) - leftMs) < 60, `status: ${told} ms behind, ${leftMs} left`);
});

time("the host's clock is stepped: slewed, and right then", async () => {
  const nowMs = await rtcAheadMs();
  pair.clocks.b.set(nowMs - 60); // back: the guest's never goes back
  await settled('b', 6000);
  const aheadMs = await rtcAheadMs();
  assert.ok(Math.abs(aheadMs - (nowMs - 60)) <= RIGHT_MS, `${aheadMs} ms ahead, not ${nowMs - 60}`);
});

time(
  'right after a join; the next survivor is 0.3 s behind, and its guest is not held',
  async () => {
    const beforeMs = await rtcAheadMs();
    pair.clocks.a.set(beforeMs - 300);
    pair.hosts.start('a', 'backup');
    await pair.hosts.until('b', 'protected', 60_000);
    await pair.hosts.until('a', 'standby', 20_000);
    const joinedMs = await rtcAheadMs();
    assert.ok(Math.abs(joinedMs - beforeMs) <= RIGHT_MS, `${joinedMs - beforeMs} ms by the join`);
    const gapMs = await failOver('b', 'a');
    assert.ok(gapMs < GAP_MS_MAX, `a gap of ${gapMs} ms in its timers`);
    await settled('a', 12_000);
    const aheadMs = await rtcAheadMs();
    assert.ok(Math.abs(aheadMs - (beforeMs - 300)) <= RIGHT_MS, `${aheadMs} ms ahead`);
  },
);

time('further off than slewing goes: it stays, and status and the log say so', async () => {
  const beforeMs = await rtcAheadMs();
  pair.clocks.a.set(60_000);
  await sleep(1500);
  const { guest_clock_behind_ms: told } = (await pair.hosts.status('a')) ?? {};
  assert.ok((told ?? 0) > 59_000, `status: ${told} ms behind`);
  assert.match(pair.hosts.stderr('a'), /it stays/);
  const aheadMs = await rtcAheadMs();
  assert.ok(Math.abs(aheadMs - beforeMs) <= RIGHT_MS, `${aheadMs - beforeMs} ms`);
});

time('in all of it CLOCK_MONOTONIC never went back', () => {
  assert.ok(ticks.samples.length > 100, `${ticks.samples.length} answers`);
  assert.is(Math.max(...ticks.samples.map(({ back }) => back)), 0);
});

time.run();
