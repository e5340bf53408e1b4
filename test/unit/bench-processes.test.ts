// SPDX-License-Identifier: Apache-2.0
/** CPU time as the harness reads it: of processes that run, with their children, in ns. */
import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cpuUsed, secondsSince } from '../../bench/run/processes.ts';

test('the CPU time of a process has that of its children in it, in less than ticks', () => {
  const above = cpuUsed([process.ppid]); // around the other two
  const clock = (): number => {
    const { user, system: kernel } = process.cpuUsage();
    return (user + kernel) / 1e6;
  };
  const outerS = clock();
  const before = cpuUsed([process.pid]);
  const innerS = clock();
  const child = spawnSync(process.execPath, ['-e', 'for (let i = 0; i < 1e7; i += 1);']);
  assert.is(child.status, 0);
  const untilMs = performance.now() + 50;
  while (performance.now() < untilMs);
  const inner = clock() - innerS;
  const used = secondsSince(before, cpuUsed([process.pid]));
  const outer = clock() - outerS;
  // A thread that runs is as of the last tick of the scheduler, at most 10 ms ago.
  assert.ok(used > inner - 0.01, `${used} s, and by its own clock at least ${inner} s`);
  assert.ok(used < outer + 0.01, `${used} s, and by its own clock at most ${outer} s`);
  assert.ok(secondsSince(above, cpuUsed([process.ppid])) >= used, "a parent's has it in it");
  assert.is(cpuUsed([2 ** 22 + 1]).size, 0);
});

test('a child that lives counts with its parent', async () => {
  const child = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
  try {
    const giveUpMs = performance.now() + 20_000;
    const tid = child.pid ?? 0; // its first thread
    const usedNs = (): number => cpuUsed([process.pid]).get(tid) ?? 0;
    while (usedNs() < 1e8 && performance.now() < giveUpMs) await sleep(10);
    assert.ok(usedNs() >= 1e8, `${usedNs()} ns`);
  } finally {
    child.kill('SIGKILL');
  }
});

test.run();
