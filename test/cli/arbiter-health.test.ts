// SPDX-License-Identifier: Apache-2.0
/**
 * A shared folder that hangs, is read-only or was emptied is noticed while all is well, stops no
 * daemon, and nobody goes on alone before it decides again.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../lib/command.ts';
import { dir, FakeVmPair, type Status, sleep } from '../lib/fake-vm-pair.ts';
import { LoopFolder } from '../lib/loop-folder.ts';

const SIDES = ['primary', 'backup'] as const;
const health = suite('health of the arbiter');
let count = 0;

async function play(test: (pair: FakeVmPair, folder: LoopFolder) => Promise<void>): Promise<void> {
  assert.is(process.getuid?.(), 0, 'this test mounts file systems: run it as root');
  count += 1;
  const folder = new LoopFolder(join(dir, `shared-${count}`));
  const pair = await FakeVmPair.make('', `dir:${folder.path}`);
  try {
    await test(pair, folder);
  } finally {
    // It hangs no more, so that everything can end.
    folder.remove();
    await pair.end();
  }
}

/** Both sides say that it cannot decide. */
async function noticed(pair: FakeVmPair, why: RegExp): Promise<void> {
  for (const side of SIDES) {
    const isSick = ({ arbiter_problem: problem }: Status) => why.test(problem ?? '');
    const { state } = await pair.until(side, isSick, 20_000);
    assert.is(state, side === 'primary' ? 'protected' : 'standby', 'the pair goes on');
  }
  const { code, stdout } = await run(['status', pair.name], { env: pair.env });
  assert.is(code, 4, stdout);
  assert.match(stdout, /arbiter\s+the arbiter dir:/);
}

async function well(pair: FakeVmPair): Promise<void> {
  for (const side of SIDES) {
    await pair.until(side, (status) => status.arbiter_answer_ms !== null);
  }
  const { code, stdout } = await run(['status', pair.name], { env: pair.env });
  assert.is(code, 0, stdout);
}

function eventsOf(pair: FakeVmPair, side: string): string[] {
  const log = readFileSync(join(pair.stateDir(side), 'daemon.log'), 'utf8');
  const lines = log.trimEnd().split('\n');
  return lines.map((line) => (JSON.parse(line) as { event?: string }).event ?? '');
}

health('it hangs: both say so, the pair goes on, and ends when it is told to', () =>
  play(async (pair, folder) => {
    const { primary, backup } = await pair.startBoth();
    await well(pair);
    folder.freeze();
    await noticed(pair, /did not answer within 2000 ms/);
    // Not even a process that was killed is gone, and no other is started.
    await noticed(pair, /hangs: process \d+, which asked it, cannot be ended since \d+ s/);
    folder.thaw();
    await well(pair);
    folder.freeze();
    await noticed(pair, /did not answer/);
    const from = performance.now();
    primary.child.kill('SIGINT');
    assert.equal([(await primary.done).code, (await backup.done).code], [0, 0]);
    assert.ok(performance.now() - from < 5000, `${performance.now() - from} ms`);
    const arbiter = eventsOf(pair, 'primary').filter((event) => event.startsWith('arbiter'));
    assert.equal(arbiter, ['arbiter-gone', 'arbiter-back', 'arbiter-gone']);
  }),
);

health('it hangs and the primary dies: the backup waits, and takes over when it decides', () =>
  play(async (pair, folder) => {
    const { primary } = await pair.startBoth();
    await well(pair);
    folder.freeze();
    primary.child.kill('SIGKILL');
    await pair.until('backup', ({ reason }) =>
      /waiting: the arbiter .*(answer|hangs)/.test(reason),
    );
    await sleep(1000);
    const { state, term } = await pair.until('backup', () => true);
    assert.equal([state, term], ['syncing', 1], 'it holds');
    folder.thaw();
    const live = await pair.until('backup', (status) => status.state === 'needs-backup');
    assert.is(live.term, 2);
  }),
);

health('it is read-only', () =>
  play(async (pair, folder) => {
    await pair.startBoth();
    await well(pair);
    folder.remount('ro');
    await noticed(pair, /is not reachable: EROFS: read-only file system/);
    folder.remount('rw');
    await well(pair);
  }),
);

health('it is not mounted: an empty folder has no record of the VM', () =>
  play(async (pair, folder) => {
    await pair.startBoth();
    await well(pair);
    folder.unmount();
    await noticed(pair, /has no record of term 1 of this VM \(was it emptied\?\)/);
    folder.mount();
    await well(pair);
  }),
);

health.run();
