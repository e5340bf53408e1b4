// SPDX-License-Identifier: Apache-2.0
/** The end of a join, on the side that leads: whether the VM is protected now. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ackOf } from '../../bench/stand-ins/courier.ts';
import { POWER_ON } from '../../src/base/position.ts';
import { protocolByName } from '../../src/epochs/registry.ts';
import { FRAME } from '../../src/log/frame.ts';
import { Admission, type AdmissionOptions } from '../../src/replica/admission.ts';
import type { Shipping } from '../../src/replica/ports.ts';
import type { Hello } from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';

const admissions = suite('the end of a join');

const READY = ackOf({ ready: true });
const ready: Frame = { type: FRAME.ACK, buffer: READY, offset: 0, length: READY.length };
const ENTRANCE = { sequence: 0n, recordBase: 0n, dataBase: 0n, prevChecksum: 0n, segment: 1 };

/** A join up to its end. @param onFlush what happens while the last of before is sent */
async function joined(onFlush: (shipping: { closedReason: string | null }) => void) {
  const told: string[] = [];
  const clock = {
    nowMs: () => performance.now(),
    realtimeNs: () => 0n,
    after: (ms: number, run: () => void) => {
      const timer = setTimeout(run, ms);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const shipping = {
    closedReason: null as string | null,
    logError: null,
    attach: () => {},
    protect: () => {},
    flush: async (): Promise<void> => onFlush(shipping),
    facts: () => ({ ackedSequence: 4n, sequence: 5n }),
  };
  const session = {
    remote: '10.0.0.2:1',
    send: () => true,
    startHeartbeats: () => {},
    sayGoodbye: ({ message }: { message: string }) => told.push(`goodbye: ${message}`),
    finish: () => {},
  };
  const start = { point: POWER_ON.point, entrance: ENTRANCE };
  const vm = {
    ring: { undetach: () => {}, snapshot: () => ({ stateIsFull: false, position: POWER_ON }) },
    holds: { release: () => {} },
    source: { give: async () => ({ start, pieces: 0n, pauseMs: 1 }) },
  };
  const options = {
    clock,
    report: () => {},
    phase: { reason: '', state: 'needs-backup', progress: () => {} },
    session,
    vm,
    shipping: shipping as unknown as Shipping,
    pace: { bound: () => {} },
    facts: { disks: [], host: 'a' },
    protocol: protocolByName('remus', { lagMsMax: 500 } as never),
    terms: { vmId: Buffer.alloc(16), term: 2, rtcBase: '', qemuArgs: [], protocolName: 'remus' },
    guarded: () => told.push('guarded'),
    failed: (why: string) => told.push(`failed: ${why}`),
  } as unknown as AdmissionOptions;
  const handlers = new Admission(options).begin({ host: 'b' } as Hello);
  await new Promise((resolve) => setTimeout(resolve, 5));
  handlers.frame(ready);
  const deadlineMs = performance.now() + 5000;
  while (told.length === 0 && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return told;
}

admissions('all is acknowledged: it may take over', async () => {
  assert.equal(await joined(() => {}), ['guarded']);
});

admissions('its own log ended meanwhile: it is not protected, and says why', async () => {
  const why = 'the log cannot be written: no space left';
  const told = await joined((shipping) => {
    shipping.closedReason = why;
  });
  assert.equal(told, [`goodbye: ${why}`, `failed: a backup could not join: ${why}`]);
});

admissions.run();
