// SPDX-License-Identifier: Apache-2.0
/** A guest that sleeps in S3 wakes, replays, and is stopped, handed over and joined asleep. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assembledVm, recordSector, replaySector, SectorPair } from '../lib/assembled.ts';
import { run, scratch } from '../lib/command.ts';
import { sleep } from '../lib/fake-vm-pair.ts';

const STORM = { EXITLOG_KICKS: '200' };
const STOP_MS_MAX = 2000;
/** Asleep, with nothing that would wake it. */
const ASLEEP_MS = 700;
const dir = scratch('suspend');
const suspend = suite('S3');

for (const [machine, vcpus] of [
  ['pc', 1],
  ['q35', 2],
] as const) {
  suspend(
    `${machine}, ${vcpus} vCPU: the clock's alarm wakes it, and all of it replays`,
    async () => {
      const place = join(dir, `alarm-${machine}-${vcpus}`);
      const out = join(place, 'recording');
      const more = `machine = "${machine}"\nvcpus = ${vcpus}\n`;
      const vm = assembledVm(place, 'suspend', { SLEEPS: 2, ALARM: 1 }, more);
      // Woken, q35 has no PM registers before its system sets them up: once is enough.
      const until = machine === 'q35' ? { until: 'sRs' } : {};
      const recorded = await recordSector(vm, out, { env: STORM, ...until });
      assert.is(recorded.console.trim(), machine === 'q35' ? 'sRs' : 'sRsR');
      for (const env of [{}, STORM]) {
        const replayed = await replaySector(out, { env });
        assert.ok(replayed.verified);
        assert.is(replayed.digest, recorded.end.digest);
      }
    },
  );
}

suspend('asleep for ever, it stops when asked to, and replays', async () => {
  const place = join(dir, 'stop');
  const out = join(place, 'recording');
  const vm = assembledVm(place, 'suspend', { SLEEPS: 1, ALARM: 0 });
  const recorded = await recordSector(vm, out, { until: 's', ms: ASLEEP_MS });
  assert.ok(recorded.stopMs < STOP_MS_MAX, `stopped after ${recorded.stopMs} ms`);
  assert.ok((await replaySector(out)).verified);
});

/** A pair whose guest sleeps; `act`; then the power button wakes it on that side. */
async function asleep(
  name: string,
  act: (pair: SectorPair) => Promise<'primary' | 'backup'>,
): Promise<void> {
  const pair = await SectorPair.start(join(dir, name), 'suspend', { SLEEPS: 1, ALARM: 0 });
  try {
    await pair.untilState('primary', 'protected');
    await pair.until('it sleeps', () => pair.console('primary').includes('s'));
    await sleep(ASLEEP_MS);
    const role = await act(pair);
    await pair.press(role);
    await pair.until('it wakes', () => pair.console(role).includes('P'));
  } finally {
    await pair.end();
  }
}

suspend('asleep, it is woken by the power button', () => asleep('button', async () => 'primary'));

suspend('asleep, its backup takes over from a primary that is killed', () =>
  asleep('killed', async (pair) => {
    pair.daemon(0).child.kill('SIGKILL');
    await pair.untilState('backup', 'needs-backup');
    return 'backup';
  }),
);

suspend('asleep, its backup is promoted', () =>
  asleep('promoted', async (pair) => {
    const { code, stderr } = await run(['promote', 'sector'], { env: pair.env });
    assert.is(code, 0, stderr);
    await pair.until('the backup runs it', async () => {
      const state = (await pair.status('backup'))?.state;
      return state === 'needs-backup' || state === 'protected';
    });
    return 'backup';
  }),
);

suspend('asleep, it takes a new backup, which takes over', () =>
  asleep('joined', async (pair) => {
    pair.daemon(1).child.kill('SIGKILL');
    await pair.untilState('primary', 'needs-backup');
    pair.launch('backup');
    await pair.untilState('primary', 'protected');
    pair.daemon(0).child.kill('SIGKILL');
    await pair.untilState('backup', 'needs-backup');
    return 'backup';
  }),
);

suspend('asleep, it ends on both sides when it is told to', async () => {
  const pair = await SectorPair.start(join(dir, 'stopped'), 'suspend', { SLEEPS: 1, ALARM: 0 });
  try {
    await pair.untilState('primary', 'protected');
    await pair.until('it sleeps', () => pair.console('primary').includes('s'));
    await sleep(ASLEEP_MS);
    const { code, stderr } = await run(['stop', 'sector'], { env: pair.env });
    assert.is(code, 0, stderr);
    await Promise.all([pair.daemon(0).done, pair.daemon(1).done]);
  } finally {
    await pair.end();
  }
});

suspend.run();
