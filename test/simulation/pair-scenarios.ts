// SPDX-License-Identifier: Apache-2.0
/** A pair under faults: what left was covered by an ack, and exactly one side goes on. */
import * as assert from 'uvu/assert';
import { POINTS, type Side } from './pair.ts';
import { ofPair, type Scenario } from './scenario.ts';

export const PAIR_SCENARIOS: Scenario[] = [];

function add(...scenario: Parameters<typeof ofPair>): void {
  PAIR_SCENARIOS.push(ofPair(...scenario));
}

add('without faults outputs leave and the backup follows', 1, async (pair) => {
  // On a slow link a guest that stops for each epoch runs a tenth of the time.
  await pair.run(1000);
  assert.is(pair.primary.phase.state, 'protected');
  assert.is(pair.backup.phase.state, 'standby');
  assert.ok(pair.left.primary.length > 20, `only ${pair.left.primary.length} packets left`);
  assert.is(pair.left.backup.length, 0);
});

add('the primary dies: the backup goes live, and nothing is lost', 1000, async (pair, random) => {
  await pair.run(random.int(50, 300));
  pair.hosts.primary.crash('SIGKILL');
  await pair.run(2000);
  assert.is(pair.backup.phase.state, 'needs-backup');
  assert.equal(pair.goers(), ['backup']);
  const { failover } = pair.backup.facts();
  assert.ok((failover?.total_ms ?? 1e9) < 200, `took ${failover?.total_ms} ms`);
});

add('the backup dies: the primary goes on alone', 2000, async (pair, random) => {
  await pair.run(random.int(50, 300));
  const before = pair.left.primary.length;
  pair.hosts.backup.crash('SIGKILL');
  await pair.run(2000);
  assert.is(pair.primary.phase.state, 'needs-backup');
  assert.equal(pair.goers(), ['primary']);
  assert.ok(pair.left.primary.length > before + 100);
});

for (const how of ['cut', 'silent'] as const) {
  add(`the link is ${how}: exactly one goes on`, 3000, async (pair, random) => {
    await pair.run(random.int(50, 300));
    pair.unreachable = true;
    if (how === 'cut') pair.connection?.cut();
    else pair.connection?.goSilent();
    await pair.run(3000);
    assert.is(pair.goers().length, 1, `live: ${pair.goers().join(' and ') || 'nobody'}`);
    const loser: Side = pair.goers()[0] === 'primary' ? 'backup' : 'primary';
    assert.is(pair.outcomes[loser]?.code, 'fenced');
    assert.is(pair.vms[loser]?.running, false);
  });
}

for (const side of ['primary', 'backup'] as const) {
  for (const point of POINTS[side]) {
    add(`${side} killed at ${point}`, 4000, async (pair, random) => {
      pair.crashAt(side, point, random.int(1, 40));
      await pair.run(3000);
      assert.not(pair.hosts[side].alive, 'it came to that point');
      const survivor: Side = side === 'primary' ? 'backup' : 'primary';
      const started = side === 'backup' || pair.logs.backup.sequences.length > 0;
      if (started) assert.equal(pair.goers(), [survivor]);
      else assert.equal(pair.goers(), []);
    });
  }
}

add('primary killed at one of its first batches', 4500, async (pair, random) => {
  pair.crashAt('primary', 'ship', random.int(1, 2));
  await pair.run(3000);
  assert.not(pair.hosts.primary.alive);
  const started = pair.logs.backup.sequences.length > 0;
  assert.equal(pair.goers(), started ? ['backup'] : []);
});

add('no arbiter: nobody goes on alone, until it is back', 5000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  for (const side of ['primary', 'backup']) pair.arbiter.unreachableFrom.add(side);
  pair.connection?.cut();
  pair.unreachable = true;
  const left = pair.left.primary.length;
  await pair.run(3000);
  assert.equal(pair.goers(), []);
  assert.is(pair.left.primary.length, left, 'outputs are held');
  assert.match(pair.primary.phase.reason, 'outputs are held: the arbiter is down');
  assert.match(pair.backup.phase.reason, 'the arbiter is down');
  pair.arbiter.unreachableFrom.clear();
  await pair.run(2000);
  assert.is(pair.goers().length, 1);
});

add(
  'the guest ends when the fence is not decided: its last outputs wait for that',
  5500,
  async (pair, random) => {
    await pair.run(random.int(50, 200));
    pair.arbiter.unreachableFrom.add('primary');
    pair.hosts.backup.crash('SIGKILL');
    await pair.run(random.int(500, 600));
    assert.match(pair.primary.phase.reason, 'outputs are held');
    pair.vms.primary?.powersOff();
    await pair.run(500);
    assert.is(pair.outcomes.primary, undefined, 'it has not ended');
    pair.arbiter.unreachableFrom.clear();
    await pair.run(1000);
    assert.is(pair.outcomes.primary?.ok, true);
    assert.equal(pair.outcomes.primary?.reason, 'the guest powered off');
  },
);

add("the primary's log cannot be written: its backup takes over", 6000, async (pair, random) => {
  pair.logs.primary.failAt = random.int(5, 60);
  await pair.run(3000);
  assert.equal(pair.goers(), ['backup']);
  assert.match(pair.backup.phase.reason, 'log-failed: the log cannot be written');
  assert.match(pair.outcomes.primary?.reason ?? '', 'handed over');
});

add("the primary's log cannot be written, and its backup is lost", 6500, async (pair, random) => {
  pair.logs.primary.failAt = random.int(5, 60);
  while (!pair.primary.phase.reason.startsWith('outputs are stopped')) await pair.run(1);
  pair.hosts.backup.crash('SIGKILL');
  await pair.run(20_000);
  assert.equal(pair.goers(), ['primary']);
  assert.is(pair.primary.facts().outputsStopped, null);
});

for (const kind of ['stuck', 'failing'] as const) {
  add(`a disk of the primary is ${kind}: its backup takes over`, 6600, async (pair, random) => {
    await pair.run(random.int(50, 300));
    pair.vms.primary?.says({ kind, disk: 0, text: `disk0: ${kind}` });
    await pair.run(2000);
    assert.equal(pair.goers(), ['backup']);
    assert.match(pair.backup.phase.reason, `disk-${kind}: disk0`);
    assert.match(pair.outcomes.primary?.reason ?? '', 'handed over (disk0');
  });

  add(`a disk of the primary is ${kind}, and its backup is lost`, 6700, async (pair, random) => {
    await pair.run(random.int(50, 300));
    pair.hosts.backup.crash('SIGKILL');
    pair.vms.primary?.says({ kind, disk: 0, text: `disk0: ${kind}` });
    await pair.run(8000);
    assert.equal(pair.goers(), ['primary']);
    assert.is(pair.primary.facts().outputsStopped, null);
    assert.is(pair.primary.facts().sick, kind === 'stuck' ? 'disk0: stuck' : null);
  });
}

add(
  'the backup acknowledges nothing: the primary claims the fence, and goes on alone',
  6800,
  async (pair, random) => {
    await pair.run(random.int(50, 300));
    pair.vms.primary?.isStuck('acks', 'it has acknowledged nothing');
    await pair.run(2000);
    assert.equal(pair.goers(), ['primary']);
    assert.match(pair.primary.phase.reason, 'lost the backup: it has acknowledged nothing');
    assert.is(pair.outcomes.backup?.code, 'fenced');
  },
);

add("the backup's log stands still: it leaves, the primary goes on", 6900, async (pair, random) => {
  await pair.run(random.int(50, 300));
  pair.vms.backup?.isStuck('disk', 'a write of its log');
  await pair.run(2000);
  assert.equal(pair.goers(), ['primary']);
  assert.match(pair.primary.phase.reason, 'disk-stuck: this side cannot be a backup');
});

add(
  'unprotected = "hold": nothing leaves without a backup, but by the operator\'s word',
  7500,
  async (pair, random) => {
    await pair.run(random.int(50, 300));
    const lost: Side = random.chance(0.5) ? 'primary' : 'backup';
    const side: Side = lost === 'primary' ? 'backup' : 'primary';
    const survivor = pair[side];
    pair.hosts[lost].crash('SIGKILL');
    await pair.run(2000);
    assert.is(survivor.phase.state, 'needs-backup');
    assert.match(survivor.facts().outputsStopped ?? '', 'unprotected = "hold"');
    const left = pair.left[side].length;
    await pair.run(1000);
    assert.is(pair.left[side].length, left, 'outputs are held');
    await survivor.promote();
    await pair.run(1000);
    assert.is(survivor.facts().outputsStopped, null);
    assert.ok(pair.left[side].length > left, 'and leave');
  },
  { unprotected: 'hold' },
);

add("the backup's log cannot be written: the primary goes on alone", 7000, async (pair, random) => {
  pair.logs.backup.failAt = random.int(5, 60);
  await pair.run(2000);
  assert.is(pair.outcomes.backup?.ok, false);
  assert.match(pair.outcomes.backup?.reason ?? '', 'no space left');
  assert.equal(pair.goers(), ['primary']);
});

add('replay diverges: the backup stops, the primary goes on', 8000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  pair.vms.backup?.diverge();
  await pair.run(1000);
  assert.is(pair.outcomes.backup?.code, 'divergence');
  assert.match(pair.primary.phase.reason, 'diverged');
  assert.equal(pair.goers(), ['primary']);
});

add("the primary's QEMU dies: the backup takes over", 9000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  pair.vms.primary?.die();
  await pair.run(1000);
  assert.is(pair.outcomes.primary?.code, 'qemu-died');
  assert.equal(pair.goers(), ['backup']);
});

add('stop ends both sides with the END of the log', 10000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  pair.primary.stop({ powerdown: false });
  await pair.run(3000);
  assert.equal(pair.outcomes.primary, {
    ok: true,
    code: 'stopped',
    reason: 'stopped by the operator',
  });
  assert.is(pair.outcomes.backup?.ok, true);
  assert.equal(pair.goers(), []);
});

for (const from of ['primary', 'backup'] as const) {
  add(`promote, asked of the ${from}: handed over, nothing lost`, 11000, async (pair, random) => {
    await pair.run(random.int(50, 200));
    if (from === 'primary') void pair.primary.promote();
    else pair.backup.promote();
    await pair.run(1500);
    assert.equal(pair.goers(), ['backup']);
    assert.is(pair.outcomes.primary?.ok, true);
    assert.match(pair.outcomes.primary?.reason ?? '', 'handed over');
  });
}

add('promote, and the backup dies of it: the primary resumes', 12000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  void pair.primary.promote();
  await pair.run(random.int(0, 12));
  pair.hosts.backup.crash('SIGKILL');
  await pair.run(3000);
  // Whoever holds the fence: with the backup dead after winning it, nobody is left.
  const holder = pair.arbiter.holder?.name;
  assert.equal(pair.goers(), holder === 'primary' ? ['primary'] : []);
});

add('our own stall is not taken for the silence of the peer', 13000, async (pair, random) => {
  await pair.run(random.int(50, 200));
  pair.hosts.primary.stall(250);
  await pair.run(600);
  assert.is(pair.primary.phase.state, 'protected');
  pair.hosts.backup.stall(250);
  await pair.run(600);
  assert.is(pair.backup.phase.state, 'standby');
  assert.is(pair.primary.phase.state, 'protected');
});

add('both die at random moments: never two, and nothing uncovered', 14000, async (pair, random) => {
  await pair.run(random.int(1, 200));
  pair.hosts[random.chance(0.5) ? 'primary' : 'backup'].crash('first');
  await pair.run(random.int(0, 400));
  pair.hosts[random.chance(0.5) ? 'primary' : 'backup'].crash('second');
  await pair.run(1000);
});
