// SPDX-License-Identifier: Apache-2.0
/** The guard of a daemon: what it believes of a guest, and what it does about it. */
import { createServer } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Guard, type GuardNumbers, LOOK_MS } from '../../src/guard/guard.ts';
import { Lines, parseLine } from '../../src/guard/lines.ts';
import { probeTcp } from '../../src/guard/probe.ts';

const HEAD = { guard: 1, seq: 1 };
const FAILED = {
  ...{ ...HEAD, service: 'redis', state: 'failed', failures: 2, restarts: 0, max: 2 },
  ...{ within: 60, reset: true, why: 'tcp: no answer' },
};
const NUMBERS: GuardNumbers = {
  ...{ agent: true, silenceMs: 10_000, onSilence: 'report', probes: [], probeFailures: 3 },
  ...{ onProbeFailure: 'report', bootMs: 60_000, resetsMax: 2 },
};

/** A guard with a clock of ours, and what it did. */
function guardOf(numbers: Partial<GuardNumbers> = {}) {
  const now = { ms: 0, leads: true, held: false, takes: true };
  const did: string[] = [];
  const events: string[] = [];
  const guard = new Guard(
    { ...NUMBERS, ...numbers },
    {
      nowMs: () => now.ms,
      leads: () => now.leads,
      held: () => now.held,
      type: (text) => {
        if (now.takes) did.push(text.trim());
        return now.takes;
      },
      reset: () => {
        if (now.takes) did.push('reset');
        return now.takes;
      },
      report: (event) => events.push(event),
    },
  );
  const says = (...lines: object[]): void => {
    guard.heard(Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join('')));
  };
  const pass = (ms: number, saying?: object): void => {
    for (const end = now.ms + ms; now.ms < end; ) {
      now.ms += LOOK_MS;
      if (saying !== undefined && now.ms % 1000 === 0) says(saying);
      guard.look();
    }
  };
  return { guard, now, did, events, says, pass };
}

const lines = suite('the lines of a guard in a guest');

lines('are of three kinds, and of nothing else', () => {
  assert.equal(parseLine(JSON.stringify(FAILED)), FAILED);
  assert.ok(parseLine('{"guard":1,"seq":0,"start":"us-guard 1","services":1}'));
  assert.ok(parseLine('{"guard":1,"seq":3,"done":"redis","id":1,"status":0,"ms":120}'));
  const wrong: object[] = [
    { ...FAILED, guard: 2 },
    { ...FAILED, state: 'well' },
    { ...FAILED, service: '../etc' },
    { ...FAILED, service: 'a'.repeat(33) },
    { ...FAILED, failures: -1 },
    { ...FAILED, failures: 1.5 },
    { ...FAILED, max: 101 },
    { ...FAILED, within: 0 },
    { ...FAILED, why: '\u001b[2J' },
    { ...FAILED, reset: 'yes' },
    { ...FAILED, more: 1 },
    { ...HEAD, start: 'us-guard 1', services: 17 },
    { ...HEAD, done: 'redis', id: 1, status: 256, ms: 1 },
    {},
  ];
  for (const line of wrong) assert.is(parseLine(JSON.stringify(line)), null, JSON.stringify(line));
  for (const text of ['', '{', 'null', '[]', '1', '"x"', '{"guard":1']) {
    assert.is(parseLine(text), null, text);
  }
});

lines('come in pieces; the first may be the rest of one, each other bad one is counted', () => {
  const stream = new Lines(0);
  const feed = (text: string): number => [...stream.feed(Buffer.from(text), 0)].length;
  const good = `${JSON.stringify(FAILED)}\n`;
  assert.is(feed(`"state":"up"}\n${good.slice(0, 30)}`), 0);
  assert.is(feed(good.slice(30)), 1);
  assert.equal([stream.good, stream.malformed], [1, 0]);
  assert.is(feed(`nonsense\n\n${good}\x00\xff\n`), 1);
  assert.equal([stream.good, stream.malformed], [2, 2]);
});

lines('that never end take no memory, and the next one counts', () => {
  const stream = new Lines(0);
  let now = 0;
  const feed = (text: string): number => [...stream.feed(Buffer.from(text), now)].length;
  feed('\n');
  for (let i = 0; i < 100; i += 1) {
    now += 1000;
    assert.is(feed('x'.repeat(10_000)), 0);
  }
  assert.is(stream.malformed, 1, 'one line');
  assert.is(feed(`\n${JSON.stringify(FAILED)}\n`), 1);
});

lines('are looked at up to so much a second', () => {
  const stream = new Lines(0);
  const good = `${JSON.stringify(FAILED)}\n`;
  const flood = Buffer.from(good.repeat(4000));
  const first = [...stream.feed(flood, 0)].length;
  assert.is(first, Math.floor((64 * 1024) / good.length));
  assert.ok(stream.droppedBytes > 400_000);
  assert.is([...stream.feed(flood, 0)].length, 0);
  // After the second that it owes there is room again, from the next whole line on.
  assert.is([...stream.feed(flood, 1000)].length, 0);
  const later = [...stream.feed(flood, 2000)].length;
  assert.ok(later > 100 && later < 125, String(later));
  const short = new Lines(0);
  for (let ms = 0; ms < 10_000; ms += 100) [...short.feed(Buffer.from('y\n'.repeat(70)), ms)];
  assert.ok(short.droppedBytes > 5000, `700 lines a second: ${short.droppedBytes} bytes`);
});

lines.run();

const policy = suite('what a guard does');

policy('has a failed service restarted, once for each time that a restart may take', () => {
  const { says, did, pass, events, guard } = guardOf();
  says({ ...FAILED, state: 'failing', failures: 1 });
  assert.equal(did, []);
  says(FAILED, FAILED);
  assert.equal(did, ['restart redis 1']);
  pass(1000, FAILED);
  assert.equal(did, ['restart redis 1']);
  says({ ...HEAD, done: 'redis', id: 1, status: 0, ms: 130 }, { ...FAILED, state: 'up', why: '' });
  assert.equal(events, ['service-failed', 'service-restart', 'service-restarted', 'service-up']);
  assert.is(guard.facts().restarts, 1);
  assert.is(guard.facts().services[0]?.state, 'up');
});

policy('resets the guest where restarts did not help, so often an hour; then it says so', () => {
  const { says, did, pass, events, guard } = guardOf();
  pass(10_000, FAILED);
  assert.equal(did.slice(0, 3), ['restart redis 1', 'restart redis 2', 'reset']);
  // The guest that comes up fails as the one before.
  pass(60_000, FAILED);
  assert.is(did.filter((it) => it === 'reset').length, 2);
  assert.match(guard.facts().gave_up ?? '', 'the guest was reset 2 times in an hour');
  assert.is(events.filter((it) => it === 'guard-gave-up').length, 1, 'told once');
  pass(3_600_000, FAILED);
  assert.is(did.filter((it) => it === 'reset').length, 4, 'an hour later it may again');
  says({ ...FAILED, state: 'up' });
  assert.is(guard.facts().gave_up, null);
});

policy('does not believe that a service was restarted less often than it was', () => {
  const { did, pass } = guardOf({ resetsMax: 0 });
  pass(50_000, { ...FAILED, restarts: 0, max: 5 });
  assert.is(did.length, 5);
  const other = guardOf({ resetsMax: 0 });
  other.pass(50_000, { ...FAILED, restarts: 2 });
  assert.equal(other.did, [], 'the guest has counted what another side did');
});

policy('never resets a guest whose file says not to', () => {
  const { did, pass, guard } = guardOf();
  pass(60_000, { ...FAILED, reset: false });
  assert.equal(did, ['restart redis 1', 'restart redis 2']);
  assert.match(guard.facts().gave_up ?? '', 'its file says not to');
});

policy('a side that follows hears and does nothing; once it leads, it does', () => {
  const { did, now, pass, guard } = guardOf();
  now.leads = false;
  pass(5000, FAILED);
  assert.is(guard.facts().services[0]?.state, 'failed');
  assert.equal(did, []);
  now.leads = true;
  pass(1000, FAILED);
  assert.equal(did, ['restart redis 1']);
});

policy('what does not go in is tried again, and not counted', () => {
  const { did, now, pass, guard } = guardOf();
  now.takes = false;
  pass(5000, FAILED);
  assert.is(guard.facts().restarts, 0);
  now.takes = true;
  pass(1000, FAILED);
  assert.equal(did, ['restart redis 1']);
});

policy('notices silence, unless it is ours: outputs held, a daemon that stood still', () => {
  const { guard, now, pass, says, events } = guardOf();
  says({ ...FAILED, state: 'up' });
  now.held = true;
  pass(60_000);
  now.held = false;
  now.ms += 60_000;
  guard.look();
  pass(9000);
  assert.is(guard.facts().agent, 'speaks');
  pass(1000);
  assert.is(guard.facts().agent, 'silent');
  says({ ...FAILED, state: 'up' });
  assert.is(guard.facts().agent, 'speaks');
  assert.equal(events.slice(-2), ['guard-silent', 'guard-speaks']);
});

policy('a guest is reset for silence only if asked, and only if its guard has ever spoken', () => {
  const dumb = guardOf({ onSilence: 'reset' });
  dumb.pass(200_000);
  assert.is(dumb.guard.facts().agent, 'silent');
  assert.equal(dumb.did, []);
  const silent = guardOf({ onSilence: 'reset' });
  silent.pass(61_000, { ...FAILED, state: 'up' });
  silent.pass(11_000);
  assert.equal(silent.did, ['reset']);
  silent.pass(50_000);
  assert.equal(silent.did, ['reset'], 'the next one has time to boot');
  silent.pass(3_000_000);
  assert.equal(silent.did, ['reset', 'reset'], 'and there is an end to it');
});

policy('a new side that leads hears for as long before it calls that silence', () => {
  const { guard, now, pass, says } = guardOf();
  says({ ...FAILED, state: 'up' });
  now.leads = false;
  pass(100_000);
  now.leads = true;
  pass(5000);
  assert.is(guard.facts().agent, 'speaks');
  pass(6000);
  assert.is(guard.facts().agent, 'silent');
});

policy('of a guard that floods the rest still counts, and it is said once', () => {
  const { guard, events, says, pass, did } = guardOf();
  says(...Array.from({ length: 2000 }, () => ({ ...FAILED, state: 'up' })));
  assert.is(guard.facts().agent, 'floods');
  assert.is(events.filter((it) => it === 'guard-floods').length, 1);
  pass(10_000, FAILED);
  assert.is(guard.facts().agent, 'speaks');
  assert.ok(did.length > 0);
});

policy('a seventeenth service is none', () => {
  const { guard, says } = guardOf();
  for (let i = 0; i < 200; i += 1) says({ ...FAILED, service: `s${i}`, state: 'up' });
  assert.is(guard.facts().services.length, 16);
  assert.is(guard.facts().malformed, 184);
});

policy('a probe that fails is shown, and acted on where the file says so', () => {
  const shown = guardOf({ agent: false, probes: ['10.0.0.5:6379'] });
  shown.pass(60_000);
  for (let i = 0; i < 5; i += 1) shown.guard.probed(0, 'ECONNREFUSED');
  shown.pass(1000);
  assert.is(shown.guard.facts().probes[0]?.state, 'down');
  assert.is(shown.guard.facts().agent, 'off');
  assert.equal([shown.events, shown.did], [['probe-down'], []]);
  shown.guard.probed(0, null);
  assert.is(shown.guard.facts().probes[0]?.state, 'up');

  const acts = guardOf({ agent: false, probes: ['a:1'], onProbeFailure: 'reset' });
  const fails = (): void => {
    for (let i = 0; i < 3; i += 1) acts.guard.probed(0, 'ECONNREFUSED');
  };
  fails();
  acts.pass(59_000);
  assert.equal(acts.did, [], 'it boots');
  acts.pass(2000);
  assert.equal(acts.did, ['reset']);
  acts.pass(59_000);
  fails();
  assert.equal(acts.did, ['reset']);
  acts.pass(3000);
  assert.equal(acts.did, ['reset', 'reset']);

  const early = guardOf({ agent: false, probes: ['a:1'], onProbeFailure: 'reset' });
  early.guard.probed(0, null);
  for (let i = 0; i < 3; i += 1) early.guard.probed(0, 'ECONNREFUSED');
  early.pass(1000);
  assert.equal(early.did, ['reset'], 'what has been up boots no more');
});

policy('a probe is a connection that is taken in time', async () => {
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  assert.is(await probeTcp('127.0.0.1', port, 1000), null);
  await new Promise((resolve) => server.close(resolve));
  assert.match((await probeTcp('127.0.0.1', port, 1000)) ?? '', 'ECONNREFUSED');
});

policy.run();
