// SPDX-License-Identifier: Apache-2.0
/** A peer is alive by two signs: its courier sends, and its daemon's heartbeats come. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from '../../src/base/clock.ts';
import { POWER_ON } from '../../src/base/position.ts';
import { FRAME } from '../../src/log/frame.ts';
import { encodeHeartbeat } from '../../src/wire/messages.ts';
import { PeerSession } from '../../src/wire/session.ts';

const INTERVAL_MS = 100;
const MISSED = 3;
const BEAT = {
  position: { point: POWER_ON.point, vtimeNs: 0n },
  state: 'standby',
  term: 1,
  visits: 0n,
};
const frame = encodeHeartbeat({
  ...BEAT,
  counter: 1n,
  sentAtNs: 0n,
  echoCounter: 0n,
  echoSentAtNs: 0n,
});

/**
 * A session whose peer's courier sends all the time, and beats until `beatsUntilMs`.
 * @returns when it was lost, and why; null: not within a minute
 */
function lostAt(beatsUntilMs: number, prepare: (session: PeerSession) => void) {
  let nowMs = 0;
  let due: { atMs: number; run: () => void } | null = null;
  const clock: Clock = {
    nowMs: () => nowMs,
    realtimeNs: () => BigInt(nowMs) * 1_000_000n,
    after: (ms, run) => {
      const timer = { atMs: nowMs + ms, run };
      due = timer;
      return {
        cancel: () => {
          if (due === timer) due = null;
        },
      };
    },
  };
  let lost: { atMs: number; reason: string } | null = null;
  const link = {
    remote: 'peer',
    send: () => true,
    heardMs: () => nowMs,
    beat: () => false,
    heardBeat: () =>
      nowMs <= beatsUntilMs
        ? {
            frame: { type: FRAME.HEARTBEAT, buffer: frame, offset: 0, length: frame.length },
            atNs: BigInt(nowMs) * 1_000_000n,
          }
        : null,
    end: () => {},
    destroy: () => {},
  };
  const session = new PeerSession(clock, () => link, {
    frame: () => {},
    heartbeat: () => {},
    goodbye: () => {},
    lost: ({ reason }) => {
      lost = { atMs: nowMs, reason };
    },
    drained: () => {},
  });
  session.startHeartbeats({ intervalMs: INTERVAL_MS, missed: MISSED }, () => BEAT);
  prepare(session);
  while (nowMs < 60_000) {
    const timer = due as { atMs: number; run: () => void } | null;
    if (timer === null) break;
    nowMs = timer.atMs;
    due = null;
    timer.run();
  }
  return lost as { atMs: number; reason: string } | null;
}

test('one whose courier sends and whose heartbeats end is lost, and its control is named', () => {
  const lost = lostAt(5000, (session) => session.expectControl());
  assert.match(lost?.reason ?? 'not lost', /^its control is silent: no heartbeat for \d+ ms/);
  const afterMs = (lost?.atMs ?? 0) - 5000;
  assert.ok(afterMs > 2300 && afterMs <= 2500, `after ${afterMs} ms`);
});

test('behind state its heartbeats may take longer', () => {
  const lost = lostAt(5000, () => {});
  const afterMs = (lost?.atMs ?? 0) - 5000;
  assert.ok(afterMs > 10_300 && afterMs <= 10_500, `after ${afterMs} ms`);
});

test('one that beats is not', () => {
  assert.is(
    lostAt(60_000, (session) => session.expectControl()),
    null,
  );
});

test.run();
