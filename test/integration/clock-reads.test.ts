// SPDX-License-Identifier: Apache-2.0
/** Instructions that read the guest's clock in the middle of a block are exact. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assembledVm, recordSector, replaySector } from '../lib/assembled.ts';
import { scratch } from '../lib/command.ts';

const ROUNDS = 400;
/** Kicks at random moments: blocks are left and entered elsewhere in each run. */
const STORM = { EXITLOG_KICKS: '100' };
const dir = scratch('clock-reads');
const reads = suite('clock reads');

for (const machine of ['pc', 'q35']) {
  reads(
    `of a ${machine}'s APIC, as memory and as an MSR, by all sorts of instructions`,
    async () => {
      const place = join(dir, machine);
      const vm = assembledVm(place, 'clock-reads', { ROUNDS }, `machine = "${machine}"\n`);
      const out = join(place, 'recording');
      const recorded = await recordSector(vm, out, { env: STORM });
      const said = recorded.console.trim();
      assert.is(said.length, 2 * ROUNDS, said);
      assert.ok(new Set(said).size > 30, `what is read does not change: ${said}`);
      for (const env of [{}, STORM]) {
        const replayed = await replaySector(out, { env });
        assert.ok(replayed.verified);
        assert.is(replayed.digest, recorded.end.digest);
      }
    },
  );
}

reads.run();
