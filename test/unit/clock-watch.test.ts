// SPDX-License-Identifier: Apache-2.0
/** What `status` and a daemon's log say of two hosts' clocks and of the guest's. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClockWatch, guestClockWords, skewWords } from '../../src/daemon/clock-watch.ts';
import { ClockSkew } from '../../src/wire/skew.ts';

const clock = suite('clocks in words');

clock('the heartbeat with the shortest way tells the skew', () => {
  const skew = new ClockSkew();
  assert.is(skew.ms, null);
  for (const wayMs of [9, 1, 40, 3]) {
    skew.heard(1_500_000_000n, BigInt(wayMs) * 1_000_000n);
  }
  assert.is(skew.ms, 1499);
});

clock('a clock that was set back shows, after some heartbeats', () => {
  const skew = new ClockSkew();
  skew.heard(1_000_000_000n, 0n);
  for (let beat = 0; beat < 16; beat += 1) skew.heard(0n, 500_000_000n);
  assert.is(skew.ms, -500);
});

clock('nothing is said of what is right; a bound is named beyond it', () => {
  assert.is(skewWords(null), null);
  assert.is(skewWords(-12), null);
  assert.match(skewWords(1500) ?? '', /1\.5 s ahead of ours: .* slewed for 30 s/);
  assert.match(skewWords(-60_000) ?? '', /behind ours, more than the 10 s .* synchronise/);
  assert.is(guestClockWords(3), null);
  assert.match(guestClockWords(-400) ?? '', /400 ms ahead of this host's clock, slewed: .* 8 s/);
  assert.match(guestClockWords(11_000) ?? '', /it stays; set this host's clock right/);
});

clock('each change is an event, once', () => {
  const events: string[] = [];
  const watch = new ClockWatch((event, { reason }) => {
    events.push(`${event} ${String(reason).split(',')[0]}`);
  });
  const look = (skewMs: number | null, behindMs: number | null): void =>
    watch.look({ clock_skew_ms: skewMs, guest_clock_behind_ms: behindMs });
  look(null, null);
  look(1, 1);
  look(1500, 1);
  look(1501, 1);
  look(1500, 1490);
  look(null, 60_000);
  look(null, 0);
  assert.equal(events, [
    "clock-skew the peer's clock is 1.5 s ahead of ours: after a failover guest time is slewed for 30 s",
    "guest-clock 1.49 s behind this host's clock",
    "guest-clock 1 min 0 s behind this host's clock",
    "guest-clock the guest's time of day is this host's",
  ]);
});

clock.run();
