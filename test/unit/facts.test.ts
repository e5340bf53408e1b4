// SPDX-License-Identifier: Apache-2.0
/** Each fact of a daemon once: `status`, its lines for people, and the runbook's table. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { toJson } from '../../src/base/format.ts';
import { type DaemonStatus, factsTable, statusOf } from '../../src/daemon/facts.ts';
import { linesOf } from '../../src/daemon/facts-words.ts';
import { Rate } from '../../src/daemon/rate.ts';
import { Phase } from '../../src/replica/phase.ts';
import type { Vm } from '../../src/replica/ports.ts';
import { NO_FACTS, type ReplicaFacts } from '../../src/replica/posture.ts';

const facts = suite('facts');

const DAEMON = {
  name: 'demo',
  role: 'primary',
  address: '10.0.0.1:7700',
  arbiter: 'dir:/shared',
  arbiterProblem: null,
  arbiterAnswerMs: 1.5,
  durability: 'memory',
  protocol: 'lockstep',
  accel: { name: 'tcg', lacks: null },
  cuts: false,
  stateDir: '/state',
  startedAt: '2026-11-29T07:00:00Z',
  certificateEndsMs: Date.UTC(2029, 1, 3),
  consoleError: null,
  history: { error: 'No space left' },
  guard: {
    agent: 'silent',
    ...{ lines: 9, malformed: 1200, dropped_bytes: 0, restarts: 2, resets: 1, gave_up: null },
    services: [
      { name: 'redis', state: 'up', failures: 0, restarts: 2, restarts_max: 3, why: '' },
      { name: 'shop', state: 'failed', failures: 3, restarts: 0, restarts_max: 3, why: 'tcp: no' },
    ],
    probes: [{ address: '10.0.0.5:6379', state: 'down', failures: 5, why: 'ECONNREFUSED' }],
  },
} as const;

function statusWith(more: Partial<ReplicaFacts>, cuts = false): DaemonStatus {
  const replica = {
    phase: new Phase(() => {}, 'waiting'),
    facts: () => ({ ...NO_FACTS, ...more, lastRefused: null, refused: 0 }),
  };
  return statusOf({ replica, daemon: { ...DAEMON, cuts }, rate: new Rate(), nowMs: 0 });
}

facts('the table in docs/runbook.md has each, with its unit and what it means', () => {
  const names = [...factsTable().matchAll(/^\| `([a-z0-9_]+)` \|/gm)].map(([, name]) => name);
  assert.equal(names, Object.keys(statusWith({})));
  const runbook = readFileSync(join(projectRoot, 'docs/runbook.md'), 'utf8');
  assert.ok(runbook.includes(`\n${factsTable()}\n`), `it is to be:\n${factsTable()}`);
});

facts('a name has its unit at its end', () => {
  for (const [, name = '', unit] of factsTable().matchAll(/^\| `([a-z0-9_]+)` \| (\S*) \|/gm)) {
    const end = /_(ms|percent)$/.exec(name)?.[1];
    assert.is(end, unit === 'ms' ? 'ms' : unit === '%' ? 'percent' : undefined, name);
  }
});

facts('the lines for people are of what crossed the socket', () => {
  const status = statusWith({
    term: 2,
    lagMs: 1.5,
    lagInstructions: 1_500_000n,
    throttled: true,
    diskError: { text: 'disk 0 is full', waits: true },
  });
  const lines = Object.fromEntries(linesOf(JSON.parse(toJson(status))));
  assert.equal(Object.keys(lines), [
    'process',
    'term',
    'backup behind',
    'log',
    'link',
    'history',
    'services',
    'probes',
    'guard',
    'disk error',
  ]);
  assert.is(lines.services, 'redis up, restarted 2 of 3; shop failed (tcp: no)');
  assert.is(lines.probes, '10.0.0.5:6379 down (ECONNREFUSED)');
  assert.is(
    lines.guard,
    'the one in the guest is silent; lines that are none: 1,200; restarts of services: 2; ' +
      'resets of the guest: 1',
  );
  assert.is(lines['backup behind'], '1,500,000 instructions, 1.5 ms (the primary is slowed)');
  assert.is(lines['disk error'], 'disk 0 is full (the guest waits)');
  assert.is(lines.history, 'given up: No space left');
});

/** A live VM, or one that waits, after so many cuts. */
function vmAfter(epochs: bigint): Vm {
  const ring = {
    ...{ position: null, outputs: 0n, outputsReleased: 0n, clockBehindNs: 0n },
    ...{ epochs, epochPages: 1000n, epochPauseNs: 8_000_000n, epochPauseNsMax: 5_500_000n },
    epochPauseNsP99: 2_000_000n,
    ...{ epochReferences: 20n, epochVersions: 2n },
    ...{ state: 'waiting', events: {} },
  };
  return { pid: 1, ring: { snapshot: () => ring } } as unknown as Vm;
}

facts('what is cut is told of a protocol that cuts, and null of others', () => {
  const state = {
    bytes: 5000,
    memoryBytes: 4000,
    diskBytes: 900,
    memoryPages: 80,
    shadowBytes: 320,
    transfers: 6,
    transferNs: 90_000_000,
  };
  const cutInterval = { everyMs: 40.5, why: 'transfer', transferMs: 32.4 } as const;
  const live = { imageEpoch: 7n, imageCompared: 5, state, cutInterval };
  const cut = statusWith({ vm: vmAfter(8n), ...live }, true);
  assert.equal(
    [cut.cuts, cut.cut_pages, cut.cut_pause_ms, cut.cut_pause_p99_ms, cut.cut_pause_max_ms],
    [8, 125, 1, 2, 5.5],
  );
  assert.equal([cut.disk_references, cut.disk_versions, cut.disk_bytes_total], [20, 2, 900]);
  const lines = Object.fromEntries(linesOf(JSON.parse(toJson(cut))));
  assert.is(
    lines.epochs,
    '8 of 125 pages, every 40.5 ms (longer: they take time to come to the backup), ' +
      'paused for 1 ms (at most 5.5 ms)',
  );
  assert.equal(
    [cut.epoch_interval_ms, cut.epoch_interval_why, cut.epoch_transfer_ms],
    [40.5, 'transfer', 32.4],
  );
  assert.is(cut.image_epoch, 7n);
  assert.is(lines.image, 'of epoch 7');
  assert.is(cut.image_compared, 5);
  assert.equal(
    [cut.state_bytes_total, cut.memory_bytes_total, cut.memory_pages_total, cut.shadow_bytes],
    [5000, 4000, 80, 320],
  );
  assert.is(lines.state, '5 KB, 50 bytes a page of memory');
  assert.is(cut.qemu_state, 'waiting');
  const before = statusWith({ vm: vmAfter(0n) }, true);
  assert.equal([before.cuts, before.cut_pages, before.cut_pause_max_ms], [0, null, null]);
  assert.equal([before.epoch_interval_ms, before.epoch_transfer_ms], [null, null]);
  const none = statusWith({ vm: vmAfter(0n) });
  assert.equal(
    [none.cuts, none.disk_references, none.cut_events, none.image_epoch, none.state_bytes_total],
    [null, null, null, null, null],
  );
});

facts.run();
