// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's time of day against its host's, to the millisecond: its RTC, read in the guest
 * to where a second begins, asked for from outside.
 *
 *   npm run campaign:clock -- [--minutes 10] [--phases power-on,idle,busy,…] [--skew-ms 1500]
 *                             [--json]
 *
 * power-on, then after so many minutes of idle, busy, mixed, and throttled (the guest
 * computes, and its backup gets 30 % of a core); after reset and join; after failover,
 * to a host whose clock is so much ahead, when that is slewed; and record. Each phase asks all
 * the time; what counts is the end, after the guest has read its RTC again. Exit code 1 when
 * that is more than 20 ms off, or a failover left a gap in the guest's timers.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { guestPaths } from '#scripts/paths.mjs';
import { mixedSetup, mixedStep } from '../../bench/mixed-load.ts';
import { textTable } from '../../src/base/text-table.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { Random } from '../../src/lab/random.ts';
import { ClockedHosts } from '../lib/clocked-hosts.ts';
import { scratch, start } from '../lib/command.ts';
import {
  figuresOf,
  type GuestRtc,
  initrdWithRtcClock,
  type RtcFigures,
  type RtcSample,
  rtcOf,
  SAYS_READY,
  START_RTC_CLOCK,
} from '../lib/guest-rtc.ts';
import type { Host } from '../lib/two-hosts.ts';

const RIGHT_MS = 20;
const GAP_MS_MAX = 400;
/** Answers after the RTC was read again: the result. */
const ANSWERS = 40;
const ASK_EVERY_S = 0.25;
/** The backup runs so long of each period. */
const DUTY_MS = 30;
const PERIOD_MS = 100;

const ALL = [
  ...['power-on', 'idle', 'busy', 'mixed', 'throttled'],
  ...['reset', 'join', 'failover', 'record'],
];
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    phases: { type: 'string', default: ALL.join(',') },
    'skew-ms': { type: 'string', default: '1500' },
    json: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const skewMs = Number(values['skew-ms']);
const phases = values.phases.split(',');
if (!(minutes > 0) || !Number.isFinite(skewMs) || !phases.every((name) => ALL.includes(name))) {
  console.error(`usage: --minutes N --phases ${ALL.join(',')} --skew-ms N --json`);
  process.exit(2);
}

interface Result extends RtcFigures {
  readonly phase: string;
  readonly minutes: number;
  /** Gap of a failover in the guest's timers; then, seconds until its time was its host's. */
  readonly gap_ms?: number;
  readonly slewed_s?: number;
}

const results: Result[] = [];
const random = new Random(1);
const forMs = minutes * 60_000;

function tell(phase: string, atMinutes: number, samples: readonly RtcSample[], more = {}): void {
  const result = { phase, minutes: atMinutes, ...figuresOf(samples), ...more };
  results.push(result);
  console.error(JSON.stringify(result));
}

/** Asks while `work` lasts, and then once more, thoroughly. @param offMs of the host's clock */
async function watched(rtc: GuestRtc, work: () => Promise<void>, offMs = 0): Promise<RtcSample[]> {
  const from = rtc.samples.length;
  await work();
  await rtc.reread(ANSWERS);
  return rtc.samples.slice(from).map((sample) => rtcOf(sample, offMs));
}

/** Stops a process for 70 of each 100 ms. */
function throttle(pid: number): () => Promise<void> {
  let over = false;
  const loop = (async () => {
    while (!over) {
      process.kill(pid, 'SIGSTOP');
      await sleep(PERIOD_MS - DUTY_MS);
      process.kill(pid, 'SIGCONT');
      await sleep(DUTY_MS);
    }
  })();
  return () => {
    over = true;
    return loop;
  };
}

const clocked = new ClockedHosts({
  dir: scratch('campaign-clock'),
  // The backup is slow on purpose, not lost.
  replication: ['heartbeat_missed = 50'],
});
const { hosts, network } = clocked;
let live: Host = 'a';
const type = (text: string): Promise<void> => clocked.type(live, text);
const guest = {
  prefix: network.prefix,
  guestAddress: network.guestAddress,
  ended: new Promise<void>(() => {}),
  said: async (text: string): Promise<number> => {
    await hosts.said(live, text, 120_000);
    return performance.now();
  },
};

const load: Readonly<Record<string, () => Promise<void>>> = {
  idle: () => sleep(forMs),
  busy: () => computing(() => sleep(forMs)),
  mixed: async () => {
    await mixedSetup(guest, type);
    for (const endMs = performance.now() + forMs; performance.now() < endMs; ) {
      await mixedStep(guest, type, random);
    }
  },
  throttled: () =>
    computing(async () => {
      const end = throttle(Number((await hosts.status('b'))?.qemu_pid));
      await sleep(forMs);
      await end();
    }),
};

async function computing(during: () => Promise<void>): Promise<void> {
  await type('md5sum /dev/zero & busy=$!\n');
  await during();
  await type('kill $busy; wait $busy\n');
}

async function reset(): Promise<void> {
  await type('reboot -f\n');
  await hosts.said(live, 'understudy-guest: ready shell', 60_000, 2);
  await sleep(1000); // its shell
  await type(START_RTC_CLOCK);
  await hosts.said(live, SAYS_READY, 60_000, 2);
}

async function join_(): Promise<void> {
  await hosts.crash('b');
  await hosts.until('a', 'needs-backup', 20_000);
  hosts.start('b', 'backup');
  await hosts.until('a', 'protected', 120_000);
}

async function failover(rtc: GuestRtc): Promise<void> {
  clocked.clocks.b.set(skewMs);
  await clocked.startTicks('a');
  const ticks = clocked.ticks(0.05);
  await ticks.until('its timers run', () => ticks.samples.length > 20);
  const from = ticks.samples.length;
  const atMs = performance.now();
  await hosts.crash('a');
  live = 'b';
  await hosts.until('b', 'needs-backup', 20_000);
  let slewedS = 0;
  let gapMs = Number.NaN;
  const samples = await watched(
    rtc,
    async () => {
      for (;;) {
        await sleep(100);
        const behindMs = (await hosts.status('b'))?.guest_clock_behind_ms;
        slewedS = (performance.now() - atMs) / 1000;
        // Before the RTC is read again: the guest does nothing else then.
        gapMs = Math.max(...ticks.samples.slice(from).map((one) => one.gapMs));
        if (typeof behindMs === 'number' && Math.abs(behindMs) < 2) return;
        if (slewedS > 400) throw new Error(`still ${behindMs} ms behind`);
      }
    },
    skewMs,
  );
  await ticks.stop();
  tell('failover', slewedS / 60, samples.slice(-ANSWERS - 1), {
    gap_ms: Math.round(gapMs * 100) / 100,
    slewed_s: Math.round(slewedS * 10) / 10,
  });
}

/** A recording on its own, on the same kind of network. */
async function recorded(): Promise<void> {
  const dir = scratch('campaign-clock-record');
  const paths = guestPaths();
  if (paths === undefined) throw new Error('the reference guest is not built');
  const own = makeNetwork();
  const initrd = initrdWithRtcClock(paths.initrd, dir);
  const append = `${paths.append} us.run=shell us.ip=${own.guestAddress}/24`;
  const lines = [
    `name = "clock"\nmemory = "128M"\nkernel = "${paths.kernel}"\ninitrd = "${initrd}"`,
    `append = "${append}"\n[[nic]]\ntap = "${own.tap.primary}"`,
  ];
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
  const words = ['record', join(dir, 'VM.toml'), '--out', join(dir, 'recording')];
  const vm = start(words, { prefix: own.prefix, timeoutMs: 300_000 });
  try {
    await vm.printed('guest# ');
    vm.child.stdin?.write(START_RTC_CLOCK);
    await vm.printed(SAYS_READY);
    const rtc = clocked.rtc(ASK_EVERY_S, own.prefix);
    tell('record', 0, await watched(rtc, () => sleep(2000)));
    await rtc.stop();
  } finally {
    vm.child.kill('SIGINT');
    await vm.done;
    own.remove();
  }
}

async function play(name: string, rtc: GuestRtc): Promise<void> {
  const work = load[name];
  if (work !== undefined) tell(name, minutes, await watched(rtc, work));
  else if (name === 'power-on') tell(name, 0, await watched(rtc, () => sleep(1000)));
  else if (name === 'reset') tell(name, 0, await watched(rtc, reset));
  else if (name === 'join') tell(name, 0, await watched(rtc, join_));
  else if (name === 'failover') await failover(rtc);
}

let problem = '';
let rtc: GuestRtc | null = null;
try {
  await clocked.startRtc();
  rtc = clocked.rtc(ASK_EVERY_S);
  for (const name of ALL.filter((one) => phases.includes(one) && one !== 'record')) {
    await play(name, rtc);
  }
  await rtc.stop();
  await clocked.end();
  if (phases.includes('record')) await recorded();
} catch (error) {
  problem = String(error);
  console.error(problem);
} finally {
  await rtc?.stop();
  await clocked.end();
}

const wrong = results.filter(
  ({ reread_ms: ms, gap_ms = 0 }) => Math.abs(ms ?? Number.NaN) > RIGHT_MS || gap_ms > GAP_MS_MAX,
);
if (values.json) console.log(JSON.stringify({ minutes, skew_ms: skewMs, results, problem }));
else print();
process.exitCode = problem === '' && wrong.length === 0 ? 0 : 1;

function print(): void {
  const head = ['after', 'min', 'RTC off, ms', 'worst meanwhile', 'p95', 'round trip', 'gap'];
  const table = textTable({ head });
  for (const one of results) {
    const { reread_ms: off, worst_ms: worst, p95_ms: p95, rtt_ms: rtt, gap_ms: gap } = one;
    const cells = [one.minutes.toFixed(1), off ?? '-', worst, p95, rtt, gap ?? ''];
    table.push([one.phase, ...cells.map(String)]);
  }
  console.log(table.toString());
}
