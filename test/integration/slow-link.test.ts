// SPDX-License-Identifier: Apache-2.0
/**
 * A link slower than the guest writes to its memory and disk: the guest waits, no side's memory
 * grows with what waits, nobody is declared dead, and in the end both disks are the same.
 *
 *   npm test integration/slow-link
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const root = scratch('slow-link');
const slow = suite('a slow link');
const MIB = 1 << 20;
const SIDES = ['primary', 'backup'] as const;
/** The link, both ways together. */
const MEGABIT_PER_S = 60;
/** What the guest writes to its disk, by way of its memory. */
const FILE_MIB = 64;
/** The ring of state and what is queued behind it (docs/limits.md), and what Node takes. */
const GROWS_MAX = 160 * MIB;

/** Its own: the image and the ring of state are shared, and have the size that they have. */
async function residentBytes(pair: Pair, side: Side): Promise<number> {
  const pid = (await pair.status(side))?.pid;
  const found = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]) * 1024;
}

async function limit(pair: Pair): Promise<void> {
  const shape = ['rate', `${MEGABIT_PER_S}mbit`, 'burst', '70000b', 'latency', '50ms'];
  const words = ['tc', 'qdisc', 'replace', 'dev', 'lo', 'root', 'tbf', ...shape];
  assert.is(await pair.output(...words), '');
}

slow('the guest waits for it, within bounds of memory', async () => {
  const guest = await referenceGuest();
  const pair = Pair.start(join(root, 'pair'), guest, ['protocol = "remus"'], {
    runs: `us.run=iozone-fsync us.args=${FILE_MIB}m us.disk=1`,
  });
  try {
    await pair.until('it is protected', async () => {
      return (await pair.status('primary'))?.state === 'protected';
    });
    await limit(pair);
    const before = await Promise.all(SIDES.map((side) => residentBytes(pair, side)));
    const most = [...before];
    const states = new Set<unknown>();
    let last: Record<string, unknown> | null = null;
    const startedMs = performance.now();
    let over = false;
    const ended = Promise.all(SIDES.map((side) => pair.ended(side))).then((all) => {
      over = true;
      return all;
    });
    while (!over) {
      const status = await pair.status('primary');
      for (const [at, side] of SIDES.entries()) {
        const bytes = await residentBytes(pair, side).catch(() => 0);
        most[at] = Math.max(most[at] ?? 0, bytes);
      }
      if (status !== null) {
        states.add(status.state);
        last = status;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const seconds = (performance.now() - startedMs) / 1000;
    const all = await ended;
    assert.equal(
      all.map(({ code }) => code),
      [0, 0],
      JSON.stringify(all).slice(0, 500),
    );
    // Nobody was declared dead; in the end the guest powers off.
    states.delete('stopped');
    assert.equal([...states], ['protected']);
    const sent = Number(last?.state_bytes_total);
    assert.ok(sent > FILE_MIB * MIB, `${sent} bytes of state`);
    const rate = (sent * 8) / seconds / 1e6;
    assert.ok(rate < MEGABIT_PER_S * 1.2, `${rate} Mbit/s: the link was slow`);
    SIDES.forEach((side, at) => {
      const grown = (most[at] ?? 0) - (before[at] ?? 0);
      assert.ok(grown < GROWS_MAX, `the ${side} took ${Math.round(grown / MIB)} MiB more`);
    });
    const [one, other] = SIDES.map((side) => readFileSync(join(root, 'pair', side, 'disk.raw')));
    assert.ok(one !== undefined && other !== undefined && one.equals(other), 'both disks');
  } finally {
    await pair.end();
  }
});

slow.run();
