// SPDX-License-Identifier: Apache-2.0
/**
 * Exact replay on the real QEMU and a real Linux guest: each workload recorded
 * once and verified. test/campaign/exactness.ts does it as often as wanted.
 *
 *   SEED=N npm test integration/record-replay
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runJson, scratch, start } from '../lib/command.ts';
import { makeNetns } from '../lib/netns.ts';
import { recordAndReplay, referenceGuest, WORKLOADS } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const dir = scratch('exact');
const guest = await referenceGuest();
const exact = suite('exact replay');

for (const workload of WORKLOADS.filter(({ inTestGuest }) => inTestGuest !== true)) {
  exact(workload.name, async () => {
    const place = join(dir, workload.name);
    const result = await recordAndReplay(workload, { dir: place, guest, seed, netperfS: 1 });
    rmSync(place, { recursive: true, force: true });
    assert.is(result.skipped, undefined, 'run it as root');
    const again = `again with SEED=${seed} npm test integration/record-replay`;
    assert.ok(result.ok, `${workload.name}: ${result.failure}\n${again}`);
    if (workload.name === 'boot-poweroff') {
      assert.ok((result.logBytes ?? 0) < 500_000, `${result.logBytes} bytes of log for a boot`);
    }
  });
}

exact('a tap that another VM has is refused, and its holder named', async () => {
  const netns = makeNetns('busy');
  assert.ok(netns !== null, 'this test makes a network namespace: run it as root');
  try {
    for (const name of ['first', 'second']) {
      writeFileSync(
        join(dir, `${name}.toml`),
        `name = "${name}"\nkernel = "${guest.kernel}"\ninitrd = "${guest.initrd}"\n` +
          `append = "${guest.append} us.run=idle"\n[[nic]]\ntap = "${netns.tap}"\n`,
      );
    }
    const record = (name: string): string[] => [
      'record',
      join(dir, `${name}.toml`),
      '--out',
      join(dir, name),
    ];
    const first = start(record('first'), { prefix: netns.prefix });
    await first.printed('ready idle');
    const second = await runJson(record('second'), { prefix: netns.prefix });
    assert.is(second.code, 1);
    assert.is((second.json.error as { code: string }).code, 'tap-in-use');
    assert.match(second.stderr, /in use by qemu/);
    first.child.kill('SIGINT');
    assert.is((await first.done).code, 0);
  } finally {
    netns.remove();
  }
});

exact.run();
