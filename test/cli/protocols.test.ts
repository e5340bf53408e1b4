// SPDX-License-Identifier: Apache-2.0
/** What a protocol by checkpoint does not give, and pairs that are not of one mind: refused by name. */
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../lib/command.ts';
import { FakeVmPair } from '../lib/fake-vm-pair.ts';

const protocols = suite('protocols');
const REMUS = 'protocol = "remus"';

for (const [what, replication, vm, why] of [
  ['history', `${REMUS}\nhistory = "5m"`, '', /history is not for protocol = "remus"/],
  ['a VGA card', REMUS, 'vga = true', /not with protocol = "remus".*VBE sequencer registers/],
  ['an interval out of range', `${REMUS}\ninterval_ms = 4`, '', /replication\.interval_ms/],
  ['a wait out of range', `${REMUS}\noutput_wait_us_max = 99`, '', /output_wait_us_max/],
  [
    'a bound below the interval',
    `${REMUS}\ninterval_ms_max = 24`,
    '',
    /less than interval_ms = 25/,
  ],
  ['pages out of range', `${REMUS}\nepoch_pages_max = 63`, '', /replication\.epoch_pages_max/],
  [
    'a bound of what stretches nothing',
    'protocol = "kemari"\ninterval_ms_max = 100',
    '',
    /interval_ms_max is not for protocol = "kemari".*or take protocol = "remus"/,
  ],
  [
    'pages of what ends no epoch by them',
    'protocol = "lockstep"\nepoch_pages_max = 1000',
    '',
    /epoch_pages_max is not for protocol = "lockstep".*or take protocol = "remus"/,
  ],
  ['a disk mode that is none', `${REMUS}\ndisk = "log"`, '', /replication\.disk.*"io-log"/],
  [
    'an io-log of what ships the log',
    'protocol = "lockstep"\ndisk = "io-log"',
    '',
    /disk = "io-log" is not for protocol = "lockstep".*"remus"/,
  ],
  [
    'an interval of what has none',
    'protocol = "kemari"\ninterval_ms = 25',
    '',
    /interval_ms is not for protocol = "kemari".*take protocol = "remus"/,
  ],
  [
    'a wait of packets of what does not go by one',
    'protocol = "lockstep"\noutput_wait_us_max = 1000',
    '',
    /output_wait_us_max is not for protocol = "lockstep".*"remus"/,
  ],
  [
    'a length of epochs in instructions',
    `${REMUS}\nepoch_instructions = 100000`,
    '',
    /epoch_instructions is not for protocol = "remus".*"lockstep-epoch"/,
  ],
  ['a protocol that is none', 'protocol = "romulus"', '', /replication\.protocol.*"remus"/],
  [
    'a log of what nobody counts',
    'protocol = "lockstep"',
    'accel = "tcg-multi"',
    /accel = "tcg-multi" is not for protocol = "lockstep"/,
  ],
] as const) {
  protocols(`${what} is refused by both sides, before anything is started`, async () => {
    const pair = await FakeVmPair.make();
    for (const side of ['primary', 'backup'] as const) {
      pair.configure(side, replication, vm);
      const { code, stderr } = await run([side, pair.toml(side)], { env: pair.env });
      assert.is(code, 2, stderr);
      assert.match(stderr, why);
    }
    await pair.end();
  });
}

protocols('a recording of what nobody counts is refused, and leaves no folder', async () => {
  const pair = await FakeVmPair.make();
  pair.configure('primary', REMUS, 'accel = "tcg-multi"');
  const out = `${pair.toml('primary')}.recorded`;
  const { code, stderr } = await run(['record', pair.toml('primary'), '--out', out], {
    env: pair.env,
  });
  assert.is(code, 2, stderr);
  assert.match(stderr, /accel = "tcg-multi" is not for a recording/);
  assert.not.ok(existsSync(out));
  await pair.end();
});

for (const [what, ours, theirs, why] of [
  [
    'another interval',
    REMUS,
    `${REMUS}\ninterval_ms = 50`,
    /refused: epochs-differ: the epochs differs: primary has every 25 to 250 ms.*backup has every 50 to 500 ms/,
  ],
  [
    'another bound of it',
    REMUS,
    `${REMUS}\ninterval_ms_max = 25`,
    /epochs-differ: .*every 25 to 250 ms.*every 25 to 25 ms.*; replication.interval_ms, interval_ms_max/,
  ],
  [
    'another number of pages',
    REMUS,
    `${REMUS}\nepoch_pages_max = 1000`,
    /epochs-differ: .*or 8192 pages.*or 1000 pages.*, epoch_pages_max, /,
  ],
  [
    'another wait of a packet',
    REMUS,
    `${REMUS}\noutput_wait_us_max = 500`,
    /epochs-differ: .*or 1000 us after a packet, .*disk = "blocks", backup has .*or 500 us after a/,
  ],
  [
    'another disk mode',
    `${REMUS}\ndisk = "blocks"`,
    `${REMUS}\ndisk = "io-log"`,
    /refused: epochs-differ: .*disk = "blocks", backup has .*disk = "io-log"; .* and disk must be/,
  ],
  [
    'another protocol',
    REMUS,
    'protocol = "lockstep"',
    /refused: replication-protocol-differs: .*primary has remus, backup has lockstep/,
  ],
] as const) {
  protocols(`${what} at the backup is refused by the hello, with both values`, async () => {
    const pair = await FakeVmPair.make();
    pair.configure('primary', ours);
    pair.configure('backup', theirs);
    pair.start('primary');
    await pair.until('primary', (status) => status.state === 'starting');
    const { code, stderr } = await run(['backup', pair.toml('backup')], { env: pair.env });
    assert.is(code, 12, stderr);
    assert.match(stderr, why);
    const { state } = await pair.until('primary', (status) => status.last_refused !== null);
    assert.is(state, 'starting');
    await pair.end();
  });
}

protocols.run();
