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
import { Pair } from '../lib/pair.ts';
import { Grown, limitLink, MIB, SIDES } from '../lib/slow-link.ts';
import { referenceGuest } from '../lib/workloads.ts';

const root = scratch('slow-link');
const slow = suite('a slow link');
/** The link, both ways together. */
const MEGABIT_PER_S = 60;
/** What the guest writes to its disk, by way of its memory. */
const FILE_MIB = 64;

slow('the guest waits for it, within bounds of memory', async () => {
  const guest = await referenceGuest();
  const pair = Pair.start(join(root, 'pair'), guest, ['protocol = "remus"'], {
    runs: `us.run=iozone-fsync us.args=${FILE_MIB}m us.disk=1`,
  });
  try {
    await pair.until('it is protected', async () => {
      return (await pair.status('primary'))?.state === 'protected';
    });
    await limitLink(pair, MEGABIT_PER_S);
    const grown = await Grown.from(pair);
    const states = new Set<string>();
    let last: Record<string, unknown> | null = null;
    const startedMs = performance.now();
    let over = false;
    const ended = Promise.all(SIDES.map((side) => pair.ended(side))).then((all) => {
      over = true;
      return all;
    });
    while (!over) {
      const status = await pair.status('primary');
      await grown.look();
      if (status !== null) {
        if (status.state !== 'stopped') states.add(`${status.state}: ${status.reason}`);
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
    assert.ok(states.size > 0, 'it was looked at');
    const others = [...states].filter((state) => !state.startsWith('protected: '));
    assert.equal(others, [], 'nobody is declared dead');
    const sent = Number(last?.state_bytes_total);
    assert.ok(sent > FILE_MIB * MIB, `${sent} bytes of state`);
    const rate = (sent * 8) / seconds / 1e6;
    assert.ok(rate < MEGABIT_PER_S * 1.2, `${rate} Mbit/s: the link was slow`);
    grown.isBounded();
    const [one, other] = SIDES.map((side) => readFileSync(join(root, 'pair', side, 'disk.raw')));
    assert.ok(one !== undefined && other !== undefined && one.equals(other), 'both disks');
  } finally {
    await pair.end();
  }
});

slow.run();
