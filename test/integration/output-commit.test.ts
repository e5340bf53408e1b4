// SPDX-License-Identifier: Apache-2.0
/**
 * Output commit on the real pair: with acks withheld no packet and no console byte
 * leaves the primary, seen from the other end of its tap, while the guest runs on;
 * with the acks back, all of it leaves.
 *
 * Acks are withheld by stopping the backup's daemon, with heartbeats so patient
 * that nobody is declared dead.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const commit = suite('output commit');
const PATIENT = [
  'heartbeat_ms = 10000',
  'heartbeat_missed = 100',
  'stuck_ms_max = 3600000',
  'lag_ms_max = 60000',
];
/** What us-server says when a client sends garbage. */
const REMARK = 'us-server: connection dropped: not a request';

commit('no ack, no output', async () => {
  const pair = Pair.start(scratch('commit'), await referenceGuest(), PATIENT);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const good = pair.connect(7);
    const bad = pair.connect(7);
    await pair.until('both connect', () => good.connected && bad.connected);
    good.send(requestFrame(1, 0));
    await pair.until('an answer', () => good.received.equals(requestFrame(1, 0)));
    await sleep(300); // delayed acks of TCP are out

    pair.signal('backup', 'SIGSTOP');
    await sleep(200); // acks under way have arrived
    const packetsBefore = pair.packetsFrom('primary');
    const consoleBefore = pair.console('primary');
    const statusBefore = await pair.status('primary');
    good.send(requestFrame(1, 1));
    bad.send('x'.repeat(64));
    const third = pair.connect(7);
    await sleep(2000);

    const status = await pair.status('primary');
    const held = Number(status?.outputs) - Number(status?.outputs_released);
    assert.is(status?.state, 'protected', 'nobody is declared dead');
    assert.ok(held >= 3, `the guest has tried to send: ${held} packets are held`);
    assert.ok(icountOf(status) > icountOf(statusBefore), 'the guest runs on');
    assert.is(pair.packetsFrom('primary'), packetsBefore, 'packets out of the tap');
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup');
    assert.is(pair.console('primary'), consoleBefore, 'console bytes');
    assert.not.ok(consoleBefore.includes(REMARK));
    assert.equal(good.received, requestFrame(1, 0), 'no second answer');
    assert.is(third.connected, false, 'no third connection');

    pair.signal('backup', 'SIGCONT');
    const both = Buffer.concat([requestFrame(1, 0), requestFrame(1, 1)]);
    await pair.until('the answer leaves', () => good.received.equals(both));
    await pair.until('the console line leaves', () => pair.console('primary').includes(REMARK));
    await pair.until('the third connects', () => third.connected);
    await pair.until('the bad one is cut off', () => bad.closed);
    assert.ok(pair.packetsFrom('primary') >= packetsBefore + held);
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup, after all');
    for (const wire of [good, bad, third]) wire.end();
  } finally {
    pair.signal('backup', 'SIGCONT');
    await pair.end();
  }
});

function icountOf(status: Record<string, unknown> | null): number {
  return (status?.position as { icount: number } | undefined)?.icount ?? Number.NaN;
}

commit.run();
