// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's clock through a failover, read from outside all the time: it never
 * goes back, and soon makes up for the stall.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { baselineMs, GuestClock, offsetMs } from '../../bench/guest-clock.ts';
import { scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const clock = suite('guest clock');

clock('an offset is what the round trip cannot explain', () => {
  const sent = 1000;
  const at = (guest_ms: number, rtt_ms: number, base = 0) =>
    offsetMs({ sent_ms: sent, rtt_ms, guest_ms }, base);
  assert.is(at(1000, 4), 0);
  assert.is(at(1004, 4), 0);
  assert.is(at(1005, 4), 1);
  assert.is(at(990, 4), -9);
  assert.is(at(1500, 4, 500), 0);
  assert.is(offsetMs({ sent_ms: 86_399_990, rtt_ms: 5, guest_ms: 3 }, 0), 8, 'past midnight');
});

clock('monotonic and right across a failover', async () => {
  const pair = Pair.start(scratch('clock'), await referenceGuest(), []);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    await pair.until(
      'protected',
      async () => (await pair.status('primary'))?.state === 'protected',
    );
    await sleep(1000); // its clock has caught up with the boot
    const prefix = ['ip', 'netns', 'exec', pair.netns];
    const guest = new GuestClock(prefix, pair.guestIp, 0.005);
    await pair.until('it tells the time', () => guest.samples.length > 200);
    const killedMs = performance.now();
    const qemu = Number((await pair.status('primary'))?.qemu_pid);
    pair.signal('primary', 'SIGKILL');
    process.kill(qemu, 'SIGKILL');
    await pair.until('live', async () => (await pair.status('backup'))?.state === 'needs-backup');
    const liveMs = performance.now();
    await sleep(2000);
    await guest.stop();

    const bySent = [...guest.samples].sort((a, b) => a.sent_ms - b.sent_ms);
    let last: (typeof bySent)[0] | undefined;
    for (const sample of bySent) {
      // The guest's one queue keeps the order; only what overtook on the way home is
      // no proof.
      if (last !== undefined && last.read_ms <= sample.read_ms) {
        assert.ok(sample.guest_ms >= last.guest_ms, `${last.guest_ms} then ${sample.guest_ms}`);
      }
      last = sample;
    }
    const baseline = baselineMs(guest.samples);
    // On a busy host the guest itself waits for a core now and then, and its clock
    // with it: nineteen of twenty must be right, all of them in order.
    const off = (samples: typeof bySent): number => {
      const all = samples.map((sample) => Math.abs(offsetMs(sample, baseline)));
      return all.sort((a, b) => a - b)[Math.floor(all.length * 0.95)] ?? Number.NaN;
    };
    const before = bySent.filter(({ read_ms }) => read_ms < killedMs);
    const after = bySent.filter(({ read_ms }) => read_ms > liveMs + 500);
    assert.ok(after.length > 100, `${after.length} answers of the survivor`);
    assert.ok(off(before) <= 10, `off by ${off(before)} ms before`);
    assert.ok(off(after) <= 10, `off by ${off(after)} ms after`);
  } finally {
    await pair.end();
  }
});

clock.run();
