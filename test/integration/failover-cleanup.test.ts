// SPDX-License-Identifier: Apache-2.0
/** The demo leaves nothing behind, also when it is interrupted or killed at any stage. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, scratch, start } from '../lib/command.ts';

const isRoot = process.getuid?.() === 0;
const cleanup = suite('the demo cleans up');

cleanup('interrupted at any stage, it leaves nothing behind', async () => {
  assert.ok(isRoot, 'this test makes network namespaces: run it as root');
  const dir = scratch('interrupt');
  for (const [afterMs, signal] of [
    [700, 'SIGINT'],
    [1800, 'SIGTERM'],
    [5500, 'SIGINT'],
  ] as const) {
    const demo = start(['demo', '--json', '--seed', '1'], { env: { TMPDIR: dir } });
    await sleep(afterMs);
    demo.child.kill(signal);
    const { code, signal: killedBy, stdout } = await demo.done;
    // On a slow host the first signal may come before there is anything to undo.
    if (killedBy === null) {
      assert.is(code, 1, `after ${afterMs} ms: exit code ${code}`);
      assert.match(stdout, /"interrupted"/);
    }
    assert.equal(remains(demo.child.pid ?? 0), [], `after ${afterMs} ms`);
    assert.equal(readdirSync(dir), [], `the work folder after ${afterMs} ms`);
  }
});

cleanup('killed itself, its processes die and the next demo sweeps its network', async () => {
  assert.ok(isRoot, 'this test makes network namespaces: run it as root');
  const dir = scratch('killed');
  const demo = start(['demo', '--seed', '1'], { env: { TMPDIR: dir } });
  await sleep(2500);
  demo.child.kill('SIGKILL');
  await demo.done;
  await sleep(500);
  assert.equal(processesOf(demo.child.pid ?? 0), []);
  const next = start(['demo', '--seed', '1'], { env: { TMPDIR: dir } });
  await sleep(1000);
  next.child.kill('SIGINT');
  await next.done;
  assert.equal(remains(demo.child.pid ?? 0), []);
  assert.equal(remains(next.child.pid ?? 0), []);
});

cleanup("without root's rights: one message that says so, exit code 13", async () => {
  assert.ok(isRoot, 'this test makes network namespaces: run it as root');
  // Root by name alone: somebody else may not even read a checkout below /root.
  const prefix = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
  const { code, stderr } = await run(['demo'], { prefix, env: { HOME: '/nonexistent' } });
  assert.is(code, 13, stderr);
  assert.match(stderr, /needs root/);
});

/** What a demo with this pid could have left: namespaces and processes in them. */
function remains(pid: number): string[] {
  const list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  const names = list.split('\n').filter((line) => line.startsWith(`us-demo-${pid}-`));
  return [...names, ...processesOf(pid)];
}

function processesOf(pid: number): string[] {
  let pids = '';
  try {
    pids = execFileSync('ip', ['netns', 'pids', `us-demo-${pid}-1`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    // no such namespace: nothing is in it
  }
  return pids.split('\n').filter((line) => line !== '');
}

cleanup.run();
