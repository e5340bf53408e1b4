// SPDX-License-Identifier: Apache-2.0
/** Facts, events and commands: the addon has the lists, and courier.ts, courier-words.ts and link.ts read them by name. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Courier, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { native } from '../../native/kvm-exit-log/native.ts';

const { facts, events, commands } = native.courierWords;
const read = (name: string): string =>
  readFileSync(
    fileURLToPath(new URL(`../../native/kvm-exit-log/${name}`, import.meta.url)),
    'utf8',
  );
const text = ['courier.ts', 'courier-words.ts', 'link.ts'].map(read).join('');
const used = (pattern: RegExp): string[] =>
  [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))].sort();

test('every name that the addon has is used, and no other', () => {
  assert.equal(used(/\bfact\('(\w+)'\)/g), [...facts].sort());
  assert.equal(used(/#command\('(\w+)'\)/g), [...commands].sort());
  // What is none of these is the end.
  assert.equal([...used(/case '(\w+)':/g), 'ended'].sort(), [...events].sort());
});

test('a courier that neither ships nor receives has facts, and takes every command', async () => {
  const ring = new ExitRing({ recordSlots: 8, dataBytes: 4096 });
  const nothing = (): void => {};
  const courier = new Courier(ring, {
    console: nothing,
    first: nothing,
    logEnded: nothing,
    diverged: nothing,
    logFailed: nothing,
    progress: nothing,
    broken: nothing,
  });
  assert.is(courier.shipFacts().sequence, 0n);
  assert.is(courier.shipFacts().catchingUp, false);
  assert.is(courier.receiveFacts().lastSequence, null);
  courier.stop();
  courier.closeGate();
  courier.reopenGate();
  courier.closeReceive();
  await courier.close();
  ring.destroy();
});

test.run();
