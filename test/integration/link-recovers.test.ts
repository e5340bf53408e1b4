// SPDX-License-Identifier: Apache-2.0
/**
 * A link that is slower than the guest dirties its memory: the guest is slowed to it, neither
 * side's memory grows beyond what it may, nobody is declared dead, and with the link it recovers.
 *
 *   npm test integration/link-recovers
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { ask } from '../lib/fake-vm-pair.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const slow = suite('a link that is slow for a while');
const root = scratch('link-recovers');
const MIB = 1 << 20;
const SIDES = ['primary', 'backup'] as const;
/** The guest writes some tens of MB a second that no compression makes smaller. */
const DIRTIES =
  'while :; do dd if=/dev/urandom of=/tmp/x bs=64k count=128 2>/dev/null; done & echo dirt-$((1))-y\n';
const SLOW = ['rate', '16mbit', 'burst', '70000b', 'latency', '50ms'];
const WATCHED_MS = 12_000;
/** TCP may have doubled its time-out some times; whoever is taken for lost meanwhile is named at once. */
const BACK_MS_MAX = 40_000;
/**
 * A daemon's own memory, more than it had before. The ring of state and the image have the size
 * that they have, and are shared. What the link queues is 4 MiB and a frame, and 64 MiB of pages
 * are kept for patches; the backup stages an epoch, which is the guest's memory (128 MiB) at most. The rest is the collector's slack.
 */
const GROWTH_BYTES_MAX = { primary: 112 * MIB, backup: 176 * MIB };

function ownBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

async function type(pair: Pair, text: string): Promise<void> {
  const answer = await ask(join(pair.stateDir('primary'), 'status.sock'), {
    cmd: 'console-input',
    text,
  });
  assert.is(answer?.ok, true, JSON.stringify(answer));
}

async function numbers(pair: Pair): Promise<{ epoch: number; bytes: Record<Side, number> }> {
  const [primary, backup] = [await pair.status('primary'), await pair.status('backup')];
  assert.is(primary?.state, 'protected', `${primary?.state}: ${primary?.reason}`);
  assert.is(backup?.state, 'standby', `${backup?.state}: ${backup?.reason}`);
  return {
    epoch: Number(backup?.image_epoch),
    bytes: {
      primary: ownBytes(Number(primary?.pid)),
      backup: ownBytes(Number(backup?.pid)),
    },
  };
}

for (const protocol of ['kemari'] as const) {
  slow(protocol, async () => {
    const lines = [`protocol = "${protocol}"`];
    const runs = { runs: 'us.run=shell us.disk=1' };
    const pair = Pair.start(join(root, protocol), await referenceGuest(), lines, runs);
    try {
      await pair.until('the shell asks', () => pair.console('primary').includes('guest# '));
      await type(pair, DIRTIES);
      await pair.until('it dirties', () => pair.console('primary').includes('dirt-1-y'));
      await sleep(1000);
      const before = await numbers(pair);
      await pair.output('tc', 'qdisc', 'replace', 'dev', 'lo', 'root', 'tbf', ...SLOW);
      const most = { primary: 0, backup: 0 };
      let last = before;
      for (const untilMs = Date.now() + WATCHED_MS; Date.now() < untilMs; await sleep(200)) {
        last = await numbers(pair);
        for (const side of SIDES) most[side] = Math.max(most[side], last.bytes[side]);
      }
      for (const side of SIDES) {
        const grown = most[side] - before.bytes[side];
        console.log(`  ${protocol}, ${side}: ${Math.round(grown / MIB)} MiB more at most`);
        assert.ok(grown < GROWTH_BYTES_MAX[side], `the ${side} has ${grown} bytes more`);
      }
      assert.ok(last.epoch > before.epoch, 'epochs are committed all the same');
      await pair.output('tc', 'qdisc', 'delete', 'dev', 'lo', 'root');
      await type(pair, 'kill %1; echo fast-$((2))-again\n');
      const isBack = (): boolean => pair.console('primary').includes('fast-2-again');
      for (const untilMs = Date.now() + BACK_MS_MAX; !isBack(); await sleep(200)) {
        last = await numbers(pair);
        assert.ok(Date.now() < untilMs, `it answers: not yet, epoch ${last.epoch}`);
      }
      await numbers(pair);
    } finally {
      await pair.end();
    }
  });
}

slow.run();
