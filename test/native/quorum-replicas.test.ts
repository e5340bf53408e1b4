// SPDX-License-Identifier: Apache-2.0
/**
 * Replicas of the addon, real processes over loopback: they elect one, agree, go on without one
 * that is killed or stands still, and let nobody in who is none of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Link } from '../../native/kvm-exit-log/index.ts';
import { keysIn, tempAuthority } from '../lib/keyed-links.ts';
import { type QuorumSide, QuorumSides } from '../lib/quorum-sides.ts';
import { Told } from '../lib/told.ts';

const WAIT_MS = 60_000;

const replicas = suite('replicas on loopback');

async function until(world: QuorumSides, what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!holds()) {
    if (performance.now() > deadlineMs)
      throw new Error(`${what} does not happen\n${world.describe()}`);
    await sleep(5);
  }
}

async function elected(world: QuorumSides, among = world.sides): Promise<QuorumSide> {
  await until(world, 'an election', () => world.leader(among) !== null);
  return world.leader(among) as QuorumSide;
}

/** Whoever leads is asked until all of these sides were told of it. */
async function agreed(world: QuorumSides, text: string, among = world.sides): Promise<void> {
  let asked: QuorumSide | null = null;
  await until(world, `agreement on ${text}`, () => {
    const now = world.leader(among);
    if (now !== null && now !== asked && !among.some((side) => side.committed.includes(text))) {
      asked = now;
      now.propose(text);
    }
    return among.every((side) => side.committed.includes(text));
  });
}

replicas(
  'one is elected, all are told the same, and who was killed is told what it missed',
  async () => {
    const world = await QuorumSides.begin({ replicas: 3, durable: true });
    try {
      const leader = await elected(world);
      const asked = Array.from({ length: 100 }, (_, i) => `request ${i}`);
      for (const text of asked) leader.propose(text);
      await until(world, 'agreement', () =>
        world.sides.every(({ committed }) => committed.length === 100),
      );
      for (const { committed } of world.sides) assert.equal(committed, asked);
      assert.is(world.sides.filter(({ role }) => role === 'leader').length, 1);

      const [killed] = world.others(leader);
      assert.ok(killed !== undefined);
      await killed.kill();
      const left = world.others(killed);
      await agreed(world, 'without it', left);
      killed.again();
      await agreed(world, 'with it');
      assert.equal(killed.committed, [...asked, 'without it', 'with it']);
    } finally {
      await world.destroy();
    }
  },
);

replicas(
  'a leader that stands still is deposed, and nothing it alone knows is agreed on',
  async () => {
    const world = await QuorumSides.begin({ replicas: 3, durable: false });
    try {
      const old = await elected(world);
      await agreed(world, 'before');
      old.signal('SIGSTOP');
      // It lies in the pipe, and is the first that it does when it is back.
      old.propose('by the deposed one');
      const others = world.others(old);
      const before = old.term;
      await until(world, 'another leader', () => others.some(({ role }) => role === 'leader'));
      await agreed(world, 'meanwhile', others);
      assert.ok(Math.max(...others.map(({ term }) => term)) > before);
      old.signal('SIGCONT');
      await until(world, 'its being told', () => old.committed.includes('meanwhile'));
      assert.is(old.role, 'follower');
      await agreed(world, 'after');
      for (const { committed } of world.sides) {
        assert.equal(committed, ['before', 'meanwhile', 'after']);
      }
    } finally {
      await world.destroy();
    }
  },
);

replicas(
  'a leader that is killed is followed by another, with all that was agreed on',
  async () => {
    const world = await QuorumSides.begin({ replicas: 5, durable: false });
    try {
      const told: string[] = [];
      for (const round of [1, 2]) {
        const among = world.sides.filter((side) => !side.has('gone'));
        const leader = await elected(world, among);
        const text = `round ${round}`;
        await agreed(world, text, among);
        told.push(text);
        await leader.kill();
        leader.said = [{ event: 'gone' }];
      }
      const left = world.sides.filter((side) => !side.has('gone'));
      assert.is(left.length, 3);
      await agreed(world, 'by three of five', left);
      for (const { committed } of left) assert.equal(committed, [...told, 'by three of five']);
    } finally {
      await world.destroy();
    }
  },
);

replicas(
  'with keys: they agree, and who has none or those of another VM is not heard',
  async () => {
    const authority = tempAuthority();
    const folder = authority.issue('shop', 'replica');
    const world = await QuorumSides.begin({
      replicas: 3,
      durable: false,
      keys: [folder, folder, folder],
    });
    try {
      await elected(world);
      await agreed(world, 'sealed');
      // A megabyte less a little: in many records of TLS, and two frames.
      await agreed(world, 'x'.repeat(1_000_000));
      const [first] = world.sides;
      const port = first?.settings.ports[0] ?? 0;
      const foreign = authority.issue('other', 'replica');
      for (const security of [
        null,
        { keys: keysIn(foreign), peerName: 'understudy://vm/shop/replica' },
      ]) {
        const told = new Told();
        const link = Link.to('127.0.0.1', port, security);
        link.start(told);
        link.send(Buffer.alloc(100));
        await until(world, 'its end', () => told.closes.length === 1);
        assert.is(told.frames.length, 0);
      }
      await agreed(world, 'afterwards');
    } finally {
      await world.destroy();
    }
  },
);

replicas("another VM's replica is turned away, and another replica's folder refused", async () => {
  const world = await QuorumSides.begin({ replicas: 3, durable: false });
  try {
    await elected(world);
    const [one, two] = world.sides;
    assert.ok(one !== undefined && two !== undefined);
    await one.kill();
    Object.assign(one.settings, { cluster: 8, dir: `${one.settings.dir}-other` });
    one.again();
    await until(world, 'its being turned away', () =>
      two.said.some(
        ({ event, reason }) =>
          event === 'turned-away' && reason?.includes('of another VM') === true,
      ),
    );
    await one.kill();
    await two.kill();
    Object.assign(one.settings, { cluster: 7, dir: two.settings.dir });
    one.again();
    await until(world, 'a refusal', () => one.has('failed'));
    const { reason } = one.said.find(({ event }) => event === 'failed') ?? {};
    assert.match(reason ?? '', /of another replica/);
  } finally {
    await world.destroy();
  }
});

replicas.run();
