// SPDX-License-Identifier: Apache-2.0
/**
 * New backups join a running VM, under faults at any moment of it: nothing that left is
 * lost, there are never two live VMs, and the VM outlives all but the last host.
 */
import * as assert from 'uvu/assert';
import { EXIT, exitCodeOf } from '../../src/base/errors.ts';
import { FRAME } from '../../src/log/frame.ts';
import type { Member, Repair } from './repair.ts';
import { ofRepair, type Scenario } from './scenario.ts';

export const REPAIR_SCENARIOS: Scenario[] = [];
const PROTECTED_MS = 3000;

function fromPowerOn(...scenario: Parameters<typeof ofRepair>): void {
  REPAIR_SCENARIOS.push(ofRepair(...scenario));
}

function add(name: string, base: number, body: (repair: Repair) => Promise<void>): void {
  fromPowerOn(name, base, async (repair) => {
    await repair.start(50);
    assert.ok(await repair.until(() => repair.isProtected(), 500), 'protected at first');
    await body(repair);
  });
}

/** One of the pair dies; a new host makes it a pair again. */
async function cycle(repair: Repair): Promise<void> {
  const victim = repair.random.chance(0.5) ? repair.leader() : repair.follower();
  victim?.host.crash('SIGKILL');
  await repair.run(repair.random.int(1, 800));
  repair.join();
  const again = await repair.until(() => repair.isProtected(), PROTECTED_MS);
  assert.ok(again, 'protected again');
  await repair.run(repair.random.int(20, 200));
}

add('ten times a side dies and a new backup joins', 1, async (repair) => {
  for (let round = 0; round < 10; round += 1) await cycle(repair);
  assert.is(repair.members.length, 12);
});

fromPowerOn('backups die while the VM is powered on, and it is so once', 6000, async (repair) => {
  await repair.start(repair.random.next() * 20);
  for (let round = 0; round < 4; round += 1) {
    repair.members.at(-1)?.host.crash('SIGKILL');
    repair.join();
    await repair.run(repair.random.next() * 20);
  }
  assert.ok(await repair.until(() => repair.isProtected(), PROTECTED_MS), 'protected in the end');
});

const names = (members: (Member | null)[]) => members.map((member) => member?.host.name);

add('all hosts lose power: no image but the newest is started from', 8000, async (repair) => {
  for (let rounds = repair.random.int(0, 3); rounds > 0; rounds -= 1) await cycle(repair);
  await repair.run(200);
  assert.equal(names(repair.newest()), names([repair.leader()]), 'whose VM is live has it');
  const sides = [repair.leader(), repair.follower()];
  const [first, second] = repair.random.chance(0.5) ? sides : sides.reverse();
  first?.host.crash('the power failed');
  // Until the other is alone, or somewhere on the way there.
  await repair.run(repair.random.chance(0.5) ? 1500 : repair.random.next() * 500);
  const alone = repair.leader();
  const isSettled = alone?.daemon.phase.state === 'needs-backup';
  if (isSettled) await repair.run(50);
  second?.host.crash('the power failed');
  if (isSettled) assert.equal(names(repair.newest()), names([alone]), 'who went on alone has it');
  else repair.newest();
});

for (const who of ['the backup that joins', 'the one that leads'] as const) {
  add(`${who} dies at any moment of a join`, 1000, async (repair) => {
    for (let round = 0; round < 8; round += 1) {
      repair.follower()?.host.crash('SIGKILL');
      await repair.until(() => repair.leader()?.daemon.phase.state === 'needs-backup', 1000);
      const joiner = repair.join();
      await repair.run(repair.random.next() * 150);
      if (who === 'the backup that joins') {
        joiner.host.crash('in the middle of its join');
        assert.ok(repair.leader() !== null, 'the VM goes on');
        repair.join();
        assert.ok(await repair.until(() => repair.isProtected(), PROTECTED_MS), 'protected again');
        continue;
      }
      const entitled = joiner.daemon.phase.state === 'standby';
      repair.leader()?.host.crash('in the middle of a join');
      const lives = await repair.until(() => repair.leader() === joiner, 1500);
      // With PROTECTED on its way when the sender died, it may still have come.
      if (entitled) assert.ok(lives, 'a backup that was told so takes over');
      if (!lives) return; // nobody is left: the disks of no side are newer than the join
      repair.join();
      assert.ok(await repair.until(() => repair.isProtected(), PROTECTED_MS), 'protected again');
    }
  });
}

add('the VM is stopped at any moment of a join, and the backup knows', 7000, async (repair) => {
  repair.follower()?.host.crash('SIGKILL');
  await repair.until(() => repair.leader()?.daemon.phase.state === 'needs-backup', 1000);
  const leader = repair.leader();
  const joiner = repair.join();
  await repair.run(repair.random.next() * 150);
  leader?.daemon.stop({ powerdown: false });
  if (repair.random.chance(0.5)) {
    await repair.run(repair.random.next() * 5);
    repair.cut();
  }
  assert.ok(await repair.until(() => leader?.outcome !== null, 10_000), 'it ends');
  const knows = () =>
    joiner.outcome !== null ||
    repair.leader() === joiner ||
    joiner.daemon.phase.reason.startsWith('looking for');
  assert.ok(await repair.until(knows, 40_000), joiner.daemon.phase.reason);
});

add('the link breaks at any moment of a join', 2000, async (repair) => {
  for (let round = 0; round < 6; round += 1) {
    repair.follower()?.host.crash('SIGKILL');
    await repair.until(() => repair.leader()?.daemon.phase.state === 'needs-backup', 1000);
    repair.join();
    await repair.run(repair.random.next() * 150);
    repair.cut();
    // The one that loses the fence, if it came to one, is replaced.
    await repair.run(1500);
    assert.ok(repair.leader() !== null, 'exactly one goes on');
    if (repair.alive().length < 2) repair.join();
    assert.ok(await repair.until(() => repair.isProtected(), PROTECTED_MS), 'protected again');
  }
});

for (const type of ['STATE', 'CHECKPOINT', 'START'] as const) {
  add(`a ${type} frame is damaged, once or again and again`, 8000, async (repair) => {
    const survives = repair.random.chance(0.5) ? repair.leader() : repair.follower();
    for (const { host } of repair.alive()) {
      if (host !== survives?.host) host.crash('SIGKILL');
    }
    const isAlone = () => repair.leader()?.daemon.phase.state === 'needs-backup';
    assert.ok(await repair.until(isAlone, 1000), 'one goes on');
    repair.damages = FRAME[type];
    const joiner = repair.join();
    const isOnce = repair.random.chance(0.5);
    if (isOnce) {
      const isLost = () => joiner.daemon.phase.reason.startsWith('looking for the primary again');
      assert.ok(await repair.until(isLost, 1000), joiner.daemon.phase.reason);
      repair.damages = null;
    }
    const isOver = () => repair.isProtected() || joiner.outcome !== null;
    assert.ok(await repair.until(isOver, 10_000), joiner.daemon.phase.reason);
    assert.is(repair.isProtected(), isOnce, joiner.outcome?.reason);
    if (isOnce) return;
    assert.match(joiner.outcome?.reason ?? '', /damaged/);
    assert.is(exitCodeOf(joiner.outcome?.error), EXIT.peer);
    assert.ok(await repair.until(isAlone, 1000), 'the VM goes on');
    assert.match(repair.leader()?.daemon.phase.reason ?? '', /damaged/);
  });
}

add('planned switch-overs, again and again', 3000, async (repair) => {
  for (let round = 0; round < 10; round += 1) {
    const before = repair.leader();
    const asked = repair.random.chance(0.5) ? before : repair.follower();
    void asked?.daemon.promote(); // virtual time passes below
    const swapped = () => before?.outcome !== null && repair.leader() !== null;
    assert.ok(await repair.until(swapped, 1500), 'the roles swapped');
    assert.is(before?.outcome?.ok, true);
    repair.join();
    assert.ok(await repair.until(() => repair.isProtected(), PROTECTED_MS), 'protected again');
  }
  assert.is(repair.takeovers, 10);
});
