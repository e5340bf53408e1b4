// SPDX-License-Identifier: Apache-2.0
/**
 * How long the epochs of a real guest are: longer while the link is too slow for what it writes,
 * and back when that is over; ended before their time by a guest that writes much, or that
 * sleeps when a packet of it waits.
 *
 *   npm test integration/epoch-pace
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { freeLink, Grown, limitLink } from '../lib/slow-link.ts';
import { referenceGuest } from '../lib/workloads.ts';

const root = scratch('epoch-pace');
const epochs = suite('the length of epochs');
/** A busy host's pauses are less than a twentieth of it. */
const ASKED_MS = 100;
const MOST_MS = 800;
const LOOKED_AT_MS = 4000;

/** A guest at whose console somebody types, as protocols by checkpoint protect it. */
async function typing(
  name: string,
  replication: readonly string[],
  vm: readonly string[] = [],
): Promise<Pair> {
  const pair = Pair.start(
    join(root, name),
    await referenceGuest(),
    ['protocol = "remus"', ...replication],
    { runs: 'us.run=shell', vm },
  );
  await pair.until('its shell asks', () => pair.console('primary').includes('guest# '));
  return pair;
}

/** It writes to so many MiB of its memory again and again, until `ends` is typed. */
const writes = (what: string, mib: number): string => {
  const copy = `dd if=/dev/${what} of=/memory bs=64k count=${mib * 16} conv=notrunc`;
  return `: >/on; while [ -e /on ]; do ${copy} 2>/dev/null; done &\n`;
};
const ENDS = 'rm /on; wait; echo it has $((40 + 2)) ended\n';

async function factOf(pair: Pair, name: string): Promise<unknown> {
  return (await pair.status('primary'))?.[name];
}

async function cutsOf(pair: Pair) {
  const status = await pair.status('primary');
  const cuts = Number(status?.cuts);
  const events = status?.cut_events as Record<string, { cuts: number }> | undefined;
  return {
    cuts,
    pages: cuts * Number(status?.cut_pages),
    forPages: events?.pages?.cuts ?? 0,
  };
}

async function intervalOf(pair: Pair): Promise<number> {
  return Number(await factOf(pair, 'epoch_interval_ms'));
}

epochs(
  'a link that is too slow makes them longer, within their bound, and only while it is',
  async () => {
    const pair = await typing('link', [
      `interval_ms = ${ASKED_MS}`,
      `interval_ms_max = ${MOST_MS}`,
      'epoch_pages_max = 100000',
    ]);
    try {
      const asked = async (): Promise<boolean> => (await intervalOf(pair)) === ASKED_MS;
      await pair.until('the interval is what was asked for', asked);
      const grown = await Grown.from(pair);
      await limitLink(pair, 40);
      await pair.type('primary', writes('urandom', 2));
      await pair.until('epochs are longer for the link', async () => {
        const status = await pair.status('primary');
        return (
          status?.epoch_interval_why === 'transfer' &&
          Number(status.epoch_interval_ms) > 2 * ASKED_MS
        );
      });
      const [from, to] = [await factOf(pair, 'cuts'), Date.now() + LOOKED_AT_MS];
      while (Date.now() < to) {
        const ms = await intervalOf(pair);
        assert.ok(ms <= MOST_MS, `${ms} ms`);
        await grown.look();
        await sleep(50);
      }
      const cuts = Number(await factOf(pair, 'cuts')) - Number(from);
      assert.ok(cuts >= LOOKED_AT_MS / MOST_MS / 2, `it goes on: ${cuts} epochs`);
      grown.isBounded();
      await pair.type('primary', ENDS);
      await pair.until('the guest has heard it', () => pair.console('primary').includes('has 42'));
      await pair.until('the interval is back, on the same link', asked, 10_000);
      assert.is(await factOf(pair, 'epoch_interval_why'), 'asked');
      assert.is(await factOf(pair, 'state'), 'protected');
      await freeLink(pair);
    } finally {
      await pair.end();
    }
  },
);

for (const accel of ['tcg', 'tcg-multi'] as const) {
  epochs(
    `a guest that has written enough pages ends its epoch, with accel = "${accel}"`,
    async () => {
      const most = 512;
      const vm = [`accel = "${accel}"`];
      const pair = await typing(accel, ['interval_ms = 2000', `epoch_pages_max = ${most}`], vm);
      try {
        const before = await cutsOf(pair);
        await pair.type('primary', writes('zero', 16));
        await sleep(LOOKED_AT_MS);
        const after = await cutsOf(pair);
        const cuts = after.cuts - before.cuts;
        const forPages = after.forPages - before.forPages;
        assert.ok(forPages > 20, `${forPages} of ${cuts} epochs ended by pages`);
        const mean = (after.pages - before.pages) / cuts;
        assert.ok(mean > most / 4 && mean < 2 * most, `${mean} pages in an epoch`);
        await pair.type('primary', ENDS);
        await pair.until('the guest has heard it', () =>
          pair.console('primary').includes('has 42'),
        );
      } finally {
        await pair.end();
      }
    },
  );
}

epochs('a packet of a guest that sleeps waits for no time', async () => {
  const longMs = 10_000;
  const numbers = [`interval_ms = ${longMs}`, `output_wait_us_max = ${longMs * 1000}`];
  const guest = await referenceGuest();
  const pair = Pair.start(join(root, 'asleep'), guest, ['protocol = "remus"', ...numbers]);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const fromMs = Date.now();
    const wire = pair.connect(7);
    await pair.until('it connects', () => wire.connected);
    wire.send(requestFrame(1, 0));
    await pair.until('an answer', () => wire.received.equals(requestFrame(1, 0)));
    assert.ok(Date.now() - fromMs < longMs / 2, `after ${Date.now() - fromMs} ms`);
    wire.end();
  } finally {
    await pair.end();
  }
});

epochs.run();
