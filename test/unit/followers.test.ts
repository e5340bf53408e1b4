// SPDX-License-Identifier: Apache-2.0
/** How long the side that leads lets the next join wait. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { protocolByName } from '../../src/epochs/registry.ts';
import { type Follower, Followers } from '../../src/replica/followers.ts';
import type { PeerSession } from '../../src/wire/session.ts';

const joins = suite('joins that come to nothing');

function leading() {
  const clock = {
    ms: 0,
    nowMs: (): number => clock.ms,
    realtimeNs: () => 0n,
    after: () => ({ cancel: () => {} }),
  };
  const protocol = protocolByName('lockstep', { lagMsMax: 500 } as never);
  const followers = new Followers(protocol, clock);
  const come = (): Follower => followers.add({} as PeerSession);
  /** How long none may try after another one that failed. */
  const failed = (standMs = 0): number => {
    followers.notJoined(come().session, standMs);
    const fromMs = clock.ms;
    while (followers.pause !== null) clock.ms += 100;
    return clock.ms - fromMs;
  };
  return { clock, followers, come, failed };
}

joins('each waits twice as long as the one before, a minute at most', () => {
  const { failed } = leading();
  const waits = Array.from({ length: 10 }, () => failed());
  assert.equal(waits, [0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
});

joins('one that protects the VM makes up for those before', () => {
  const { followers, come, failed } = leading();
  for (let n = 0; n < 5; n++) failed();
  followers.joined(come());
  assert.equal([failed(), failed(), failed()], [0, 0, 1000]);
});

joins('the reason is said', () => {
  const { followers, come, failed } = leading();
  failed();
  failed();
  followers.notJoined(come().session, 0);
  assert.is(followers.pause, '3 joins in a row that came to nothing; again in 1 s');
  followers.notJoined(come().session, 30_000);
  assert.is(followers.pause, 'a guest that had to wait for the last one; again in 30 s');
});

joins('a backup that is lost later is no failed join', () => {
  const { followers, come } = leading();
  for (let n = 0; n < 9; n++) {
    const follower = come();
    followers.joined(follower);
    followers.remove(follower.session);
    assert.is(followers.pause, null);
  }
});

joins.run();
