// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that makes no progress is a guest that hangs, and not a QEMU that hangs: its VM
 * stays, can be stopped, recorded and replayed, and handed over.
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assembledVm, recordSector, replaySector, SectorPair } from '../lib/assembled.ts';
import { scratch } from '../lib/command.ts';
import { isAlive, sleep } from '../lib/fake-vm-pair.ts';

const HANGS = [
  'an exception whose handler faults at once',
  'a jump to itself',
  'a halt with interrupts off',
  'one REP that goes on for hours',
  'a triple fault again and again',
  'a fault whose handler faults at once',
] as const;
/** The watchdog would kill a QEMU that seems to hang, after less than this. */
const HANG_MS = 2500;
const env = { UNDERSTUDY_HANG_TIMEOUT_MS: '1500' };
const STOP_MS_MAX = 2000;
const dir = scratch('hangs');
const hangs = suite('guests that hang');

for (const [how, name] of HANGS.entries()) {
  hangs(`${name}: stops when asked to, and replays`, async () => {
    const place = join(dir, `alone-${how}`);
    const out = join(place, 'recording');
    const vm = assembledVm(place, 'hangs', { HOW: how });
    const recorded = await recordSector(vm, out, { until: 'hangs', ms: HANG_MS, env });
    assert.ok(recorded.stopMs < STOP_MS_MAX, `stopped after ${recorded.stopMs} ms`);
    const replayed = await replaySector(out);
    assert.ok(replayed.verified);
    assert.is(replayed.icount, recorded.end.icount);
  });
}

for (const how of [3, 4, 5]) {
  hangs(
    `${HANGS[how]}: stays protected, and its backup goes on when the primary dies`,
    async () => {
      const pair = await SectorPair.start(join(dir, `pair-${how}`), 'hangs', { HOW: how });
      try {
        await pair.untilState('primary', 'protected');
        await pair.until('it hangs', () => pair.console('primary').includes('hangs'));
        await sleep(HANG_MS);
        const { state, qemu_pid: qemu } = (await pair.status('primary')) ?? {};
        assert.is(state, 'protected');
        assert.ok(isAlive(qemu ?? 0));
        pair.daemon(0).child.kill('SIGKILL');
        await pair.until('the backup is live', async () => {
          const status = await pair.status('backup');
          return status?.failover !== null && status?.state === 'needs-backup';
        });
        await sleep(HANG_MS);
        const survivor = await pair.status('backup');
        assert.is(survivor?.state, 'needs-backup');
        assert.ok(isAlive(survivor?.qemu_pid ?? 0));
        assert.is(pair.daemon(1).child.exitCode, null, pair.daemon(1).stdout());
      } finally {
        await pair.end();
      }
    },
  );
}

hangs('reserved bits of CR4 raise #GP, which finds the registers as they were', async () => {
  const place = join(dir, 'cr4');
  const out = join(place, 'recording');
  const vm = assembledVm(place, 'cr4-reserved');
  const recorded = await recordSector(vm, out, { until: 'GGGSSS' });
  assert.match(recorded.console, /^[^!]*GGGS+$/);
  assert.ok((await replaySector(out)).verified);
});

hangs.run();
