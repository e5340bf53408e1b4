// SPDX-License-Identifier: Apache-2.0
/** One layout, four readings: C header, schema, kinds.ts, batch.ts; and the document. */
import { readFileSync } from 'node:fs';
import { Message } from 'capnp-ts';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { abiFacts } from '../../bench/stand-ins/fake-qemu.ts';
import { CONTROL, RING_STATES } from '../../native/kvm-exit-log/index.ts';
import { Batch as BatchSchema, Record as RecordSchema } from '../../schema/log.capnp.ts';
import { CUT_EVENTS } from '../../src/epochs/events.ts';
import { readDigest } from '../../src/log/batch.ts';
import { CHECKPOINT_OF, END_REASON, KIND, KINDS, kindHasPayload } from '../../src/log/kinds.ts';

const facts = abiFacts();

/** Where a setter of the generated Record writes, in bytes from its start. */
function offsetOf(write: (record: RecordSchema) => void): number {
  const message = new Message();
  const record = message.initRoot(RecordSchema);
  write(record);
  const bytes = Buffer.from(message.toArrayBuffer());
  return bytes.subarray(16).findIndex((byte) => byte !== 0);
}

test('the schema lays a record out as the C compiler does', () => {
  assert.is(
    offsetOf((r) => r.setIcount(1n)),
    facts['exitlog_record.icount'],
  );
  assert.is(
    offsetOf((r) => r.setVtimeNs(1n)),
    facts['exitlog_record.vtime_ns'],
  );
  assert.is(
    offsetOf((r) => r.setKind(1)),
    facts['exitlog_record.kind'],
  );
  assert.is(
    offsetOf((r) => r.setChannel(1)),
    facts['exitlog_record.channel'],
  );
  assert.is(
    offsetOf((r) => r.setLen(1)),
    facts['exitlog_record.len'],
  );
  assert.is(
    offsetOf((r) => r.setArg(1n)),
    facts['exitlog_record.arg'],
  );
  assert.is(RecordSchema._capnp.size.dataByteLength, facts['sizeof.exitlog_record']);
  assert.is(RecordSchema._capnp.size.pointerLength, 0);
  assert.is(BatchSchema._capnp.size.dataByteLength, 17 * 8);
  assert.is(BatchSchema._capnp.size.pointerLength, 2);
});

test('kinds have the same ordinals everywhere', () => {
  for (const [name, kind] of KINDS) assert.is(facts[name], kind, name);
  for (const [name, kind] of Object.entries(KIND)) {
    assert.is(KINDS.get(name), kind, name);
    assert.is((RecordSchema as unknown as Record<string, number>)[name], kind, name);
  }
  assert.is(facts.END_POWEROFF, END_REASON.POWEROFF);
  assert.is(facts.END_STOP, END_REASON.STOP);
  assert.is(facts.CHECKPOINT_REPLAY, CHECKPOINT_OF.REPLAY);
  assert.is(facts.CHECKPOINT_EPOCH, CHECKPOINT_OF.EPOCH);
});

test('docs/log-format.md has each kind, and which of them have a payload', () => {
  const page = readFileSync(new URL('../../docs/log-format.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| (\d+) \| ([A-Z_]+) \|([^|]*)\|/gm)];
  const table = rows.map(([, kind, name, what = '']) => [name, Number(kind), what.trim() !== '']);
  const kinds = [...KINDS].map(([name, kind]) => [name, kind, kindHasPayload(kind)]);
  assert.equal(table, kinds);
});

test('states and control flags', () => {
  RING_STATES.forEach((state, index) => {
    assert.is(facts[`STATE_${state.toUpperCase()}`], index, state);
  });
  for (const [name, flag] of Object.entries(CONTROL)) assert.is(facts[`CTL_${name}`], flag, name);
});

test('events have the same ordinals in C and in TypeScript', () => {
  CUT_EVENTS.forEach((name, ordinal) => {
    assert.is(facts[`EVENT_${name}`], ordinal, name);
  });
  assert.is(facts.EVENT_COUNT, CUT_EVENTS.length);
});

/** Those of version 1 stay where they were; later ones took words that were padding. */
const SHM_OFFSETS = {
  out: 128,
  in: 256,
  horizon_seq: 384,
  icount: 416,
  outputs_released: 464,
  checkpoint_failures: 512,
  disk_marks_done: 520,
  checkpoints_answered: 528,
  checkpoint_icount: 536,
  full_checkpoints_begun: 544,
  out_held: 600,
  epoch_references: 608,
  control: 640,
  commit: 664,
  outputs_sent: 680,
  daemon_sleeping: 688,
  disk_marks_wanted: 696,
  checkpoints_wanted: 704,
  full_checkpoints_wanted: 712,
  epoch_ns: 720,
  epoch_starts_wanted: 752,
  epoch_events: 760,
  epoch_io_log: 768,
  epoch_pages_max: 776,
  error: 832,
  epoch_state: 1856,
  events: 1984,
  event_cuts: 2112,
};

test('fields of the shared memory have the offsets that they always had', () => {
  for (const [field, offset] of Object.entries(SHM_OFFSETS)) {
    assert.is(facts[`exitlog_shm.${field}`], offset, field);
  }
});

test('a digest reads as the C struct is laid out', () => {
  const payload = Buffer.alloc(facts['sizeof.exitlog_digest'] ?? 0);
  const fields = ['cpu', 'ram', 'devices', 'outputs', 'outputs_count'];
  fields.forEach((field, index) => {
    payload.writeBigUInt64LE(BigInt(index + 1), facts[`exitlog_digest.${field}`]);
  });
  assert.equal(readDigest(payload), {
    cpu: 1n,
    ram: 2n,
    devices: 3n,
    outputs: 4n,
    outputsCount: 5n,
  });
});

test.run();
