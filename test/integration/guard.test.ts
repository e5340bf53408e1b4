// SPDX-License-Identifier: Apache-2.0
/**
 * The guard of services in a guest: a Redis that is killed, or stopped, serves again within
 * seconds, on both replicas alike; a survivor goes on guarding; and a guard that hangs, lies or
 * floods does no harm. `npm run campaign:guard` does the first twenty times.
 *
 *   npm test integration/guard
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { type Fault, Guarded, type GuardedOptions } from '../lib/guarded.ts';

/** `npm run campaign:guard` asks for 3 s: here other tests run beside it. */
const AGAIN_MS_MAX = 10_000;
const guard = suite('guard of services');
const dir = scratch('guard');
let made = 0;

async function withGuarded(options: GuardedOptions, act: (it: Guarded) => Promise<void>) {
  made += 1;
  const folder = join(dir, String(made));
  mkdirSync(folder);
  const guarded = await Guarded.start(folder, options);
  try {
    await act(guarded);
  } finally {
    await guarded.end();
  }
}

guard('Redis killed and stopped serves again; both replicas did the same', async () => {
  await withGuarded({ guard: '{ agent = true }', agent: 'guard' }, async (it) => {
    const isUp = (facts: { services: readonly { state: string }[] }): boolean =>
      facts.services[0]?.state === 'up';
    await it.until('primary', 'its guard says that it is up', isUp);
    const faults: Fault[] = ['kill', 'stop', 'kill', 'stop'];
    for (const fault of faults) {
      const ms = await it.fault('primary', fault);
      assert.ok(ms <= AGAIN_MS_MAX, `${fault}: serving again after ${ms} ms`);
      await it.until('primary', 'it is up again', isUp);
    }
    it.lostNothing();
    const facts = await it.guard('primary');
    assert.is(facts.restarts, 4);
    assert.is(facts.resets, 0);
    assert.is(facts.malformed, 0);
    await it.until('backup', 'the backup has heard the same', isUp);
    assert.is((await it.guard('backup')).restarts, 0, 'and did nothing');
    await it.stopsEqual();
  });
});

guard('a survivor goes on; a guard that hangs is noticed, and the guest reset', async () => {
  const table = '{ agent = true, silence_s = 3, on_silence = "reset" }';
  await withGuarded({ guard: table, agent: 'guard' }, async (it) => {
    await it.until('backup', 'the backup hears its guard', (facts) => facts.agent === 'speaks');
    it.pair.signal('primary', 'SIGKILL');
    await it.pair.until(
      'the backup is live',
      async () => (await it.pair.status('backup'))?.state === 'needs-backup',
    );
    await it.fault('backup', 'stop');
    assert.is((await it.guard('backup')).restarts, 1);
    it.lostNothing();

    const before = it.runs;
    await it.pair.type('backup', 'killall -STOP us-guard\n');
    await it.until('backup', 'the guest is reset', (facts) => facts.resets === 1);
    await it.answersAgain(before);
    await it.until('backup', 'its guard speaks', (facts) => facts.agent === 'speaks');
  });
});

/** Says one line of a guard again and again, at the shell. */
const lie = (fields: object): string =>
  `while :; do echo '${JSON.stringify({ guard: 1, seq: 1, ...fields })}'; sleep 0.2; done >/dev/ttyS1 &\n`;

guard('a guard that lies and floods does no harm; a probe sees the truth', async () => {
  const table =
    '{ agent = true, probe = "10.77.0.2:6379", probe_every_ms = 300, probe_failures = 2, ' +
    'on_probe_failure = "reset", resets_max = 1 }';
  await withGuarded({ guard: table, agent: 'none' }, async (it) => {
    await it.until('primary', 'the probe is up', (facts) => facts.probes[0]?.state === 'up');
    const untrue = { service: 'shop', state: 'failed', failures: 9, restarts: 0, max: 2 };
    await it.pair.type('primary', lie({ ...untrue, within: 60, reset: false, why: 'a lie' }));
    await it.until('primary', 'it gives up', (facts) => facts.gave_up !== null);
    await it.pair.type('primary', 'kill $!\n');
    await it.pair.type('primary', 'yes >/dev/ttyS1 &\n');
    await it.until('primary', 'it floods', (facts) => facts.agent === 'floods');
    const facts = await it.guard('primary');
    assert.equal([facts.restarts, facts.resets], [2, 0]);
    assert.is(it.runs, 1, 'Redis has run all the time');
    assert.is((await it.pair.status('primary'))?.state, 'protected');
    await it.pair.type('primary', 'kill $!\n');

    await it.pair.type('primary', 'killall -9 redis-server\n');
    await it.until('primary', 'the guest is reset', ({ resets }) => resets === 1);
    await it.answersAgain(1);
    await it.stopsEqual();
  });
});

guard.run();
