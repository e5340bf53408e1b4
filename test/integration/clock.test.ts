// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's clock: on a host that stops it all the time while it boots, under code
 * whose speed changes, and through a failover, where it never goes back, and soon makes
 * up for the stall.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { baselineMs, GuestClock, offsetMs } from '../../bench/guest-clock.ts';
import { pair as pairOf } from '../../bench/systems/pair.ts';
import { referenceVm } from '../../bench/workloads/guest.ts';
import { ask } from '../../src/daemon/client.ts';
import { CLOCK } from '../../src/log/kinds.ts';
import { runJson, scratch, start } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const clock = suite('guest clock');

/** exitlog/exits/clock.c, CALIBRATING_NS. */
const CALIBRATING_MS = 10_000;

clock('an offset is what the round trip cannot explain', () => {
  const sent = 1000;
  const at = (guest_ms: number, rtt_ms: number, base = 0) =>
    offsetMs({ sent_ms: sent, rtt_ms, guest_ms }, base);
  assert.is(at(1000, 4), 0);
  assert.is(at(1004, 4), 0);
  assert.is(at(1005, 4), 1);
  assert.is(at(990, 4), -9);
  assert.is(at(1500, 4, 500), 0);
  assert.is(offsetMs({ sent_ms: 86_399_990, rtt_ms: 5, guest_ms: 3 }, 0), 8, 'past midnight');
});

/** Stops a process for `stopMs` of every `everyMs`, until told to end. */
function stopAgainAndAgain(pid: number, stopMs: number, everyMs: number): () => Promise<void> {
  let ended = false;
  const loop = (async () => {
    while (!ended) {
      process.kill(pid, 'SIGSTOP');
      await sleep(stopMs);
      process.kill(pid, 'SIGCONT');
      await sleep(everyMs - stopMs);
    }
  })();
  return () => {
    ended = true;
    return loop;
  };
}

/** A process's command line; '' if it has ended by now. */
function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

/** The QEMU that a process started, as soon as it is there. */
async function qemuOf(pid: number | undefined): Promise<number> {
  for (const untilMs = Date.now() + 20_000; Date.now() < untilMs; await sleep(5)) {
    // Short-lived ones (QEMU asked for its version) come and go while one looks.
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
    for (const child of children.filter((word) => word !== '')) {
      if (commandLine(child).includes('-kernel')) return Number(child);
    }
  }
  throw new Error('no QEMU');
}

clock('a host that stops it: no step while it measures its clocks, steps after', async () => {
  const guest = await referenceGuest();
  const dir = scratch('clock-boot');
  const vm = join(dir, 'VM.toml');
  writeFileSync(
    vm,
    `name = "boot"\nkernel = "${guest.kernel}"\ninitrd = "${guest.initrd}"\n` +
      `append = "${guest.append} loglevel=7 us.run=shell"\n`,
  );
  const running = start(['record', vm, '--out', join(dir, 'recording')]);
  const qemu = await qemuOf(running.child.pid);
  const ends = [stopAgainAndAgain(qemu, 8, 12)];
  try {
    await running.printed('ready shell');
    running.child.stdin?.write('while :; do :; done\n'); // an idle guest needs no step
    await ends.pop()?.();
    ends.push(stopAgainAndAgain(qemu, 30, 200)); // too rare to be taken for its speed
    await sleep(CALIBRATING_MS + 1000);
  } finally {
    await ends.pop()?.();
    running.child.kill('SIGINT');
  }
  assert.is((await running.done).code, 0);
  const mhz = /tsc: Detected ([\d.]+) MHz/.exec(running.stdout())?.[1];
  assert.ok(Math.abs(Number(mhz) - 1000) < 10, `${mhz} MHz: QEMU's TSC has 1000 under -icount`);
  const { json } = await runJson(['inspect', join(dir, 'recording'), '--kind', 'clock']);
  const list = json.list as Array<{
    readonly icount: number;
    readonly channel: number;
    readonly arg: number | string;
  }>;
  const stepsMs = list
    // One before its first instruction is no step to the guest.
    .filter(({ channel, icount }) => channel === CLOCK.STEP && Number(icount) > 0)
    .map(({ arg }) => Number(arg) / 1e6);
  assert.ok(stepsMs.length >= 3, `${stepsMs.length} steps`);
  assert.ok((stepsMs[0] ?? 0) >= CALIBRATING_MS, `a step at ${stepsMs[0]} ms`);
});

/** Seconds of quick and slow code in turn: a REP of pages, then arithmetic. */
const UNEVEN_S = 8;
const UNEVEN =
  'while :; do dd if=/dev/zero of=/dev/null bs=1M count=200; ' +
  'dd if=/dev/urandom bs=64k count=8 | md5sum; done >/dev/null 2>&1 &\n';

clock('code that becomes faster does not carry it ahead', async () => {
  const dir = scratch('clock-uneven');
  process.env.UNDERSTUDY_STATE_DIR = join(dir, 'state'); // where ask() looks
  const lockstep = pairOf({ protocol: 'lockstep', unverified: true });
  const vm = await lockstep.start(dir, await referenceVm('us.run=shell'));
  try {
    await vm.said('guest# ');
    const guest = new GuestClock(vm.prefix, vm.guestAddress, 0.005);
    await sleep(2000); // idle: what the baseline is taken from
    const quiet = guest.samples.length;
    const who = { name: 'bench', role: 'primary' } as const;
    assert.ok((await ask(who, { cmd: 'console-input', text: UNEVEN })).ok);
    await sleep(UNEVEN_S * 1000);
    await guest.stop();
    const baseline = baselineMs(guest.samples.slice(0, quiet));
    const ahead = guest.samples.slice(quiet).map((sample) => offsetMs(sample, baseline));
    assert.ok(ahead.length > 200, `${ahead.length} answers`);
    assert.ok(Math.max(...ahead) <= 6, `${Math.max(...ahead)} ms ahead`); // HOLD_NS_MIN is 3
  } finally {
    await vm.close();
  }
});

clock('monotonic and right across a failover', async () => {
  const pair = Pair.start(scratch('clock'), await referenceGuest(), []);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    await pair.until(
      'protected',
      async () => (await pair.status('primary'))?.state === 'protected',
    );
    await sleep(1000); // its clock has caught up with the boot
    const prefix = ['ip', 'netns', 'exec', pair.netns];
    const guest = new GuestClock(prefix, pair.guestIp, 0.005);
    await pair.until('it tells the time', () => guest.samples.length > 200);
    const killedMs = performance.now();
    const qemu = Number((await pair.status('primary'))?.qemu_pid);
    pair.signal('primary', 'SIGKILL');
    process.kill(qemu, 'SIGKILL');
    await pair.until('live', async () => (await pair.status('backup'))?.state === 'needs-backup');
    const liveMs = performance.now();
    await sleep(2000);
    await guest.stop();

    const bySent = [...guest.samples].sort((a, b) => a.sent_ms - b.sent_ms);
    let last: (typeof bySent)[0] | undefined;
    for (const sample of bySent) {
      // The guest's one queue keeps the order; only what overtook on the way home is
      // no proof.
      if (last !== undefined && last.read_ms <= sample.read_ms) {
        assert.ok(sample.guest_ms >= last.guest_ms, `${last.guest_ms} then ${sample.guest_ms}`);
      }
      last = sample;
    }
    const baseline = baselineMs(guest.samples);
    // On a busy host the guest itself waits for a core now and then, and its clock
    // with it: nineteen of twenty must be right, all of them in order.
    const off = (samples: typeof bySent): number => {
      const all = samples.map((sample) => Math.abs(offsetMs(sample, baseline)));
      return all.sort((a, b) => a - b)[Math.floor(all.length * 0.95)] ?? Number.NaN;
    };
    const before = bySent.filter(({ read_ms }) => read_ms < killedMs);
    const after = bySent.filter(({ read_ms }) => read_ms > liveMs + 500);
    assert.ok(after.length > 100, `${after.length} answers of the survivor`);
    assert.ok(off(before) <= 10, `off by ${off(before)} ms before`);
    assert.ok(off(after) <= 10, `off by ${off(after)} ms after`);
  } finally {
    await pair.end();
  }
});

clock.run();
