// SPDX-License-Identifier: Apache-2.0
/** What the outputs in a log are: to compare with what really left. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as assert from 'uvu/assert';
import { comparePositions, POWER_ON, type Position } from '../../src/base/position.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogReader } from '../../src/log/log-reader.ts';

/** Bytes of each packet's record that are not on the wire (struct virtio_net_hdr_mrg_rxbuf). */
const VNET_BYTES = 12;

export interface StoredOutputs {
  /** Bytes on the wire of each packet, in order. */
  readonly packets: readonly number[];
  /** Console bytes, as latin1. */
  readonly console: string;
  /** Packets that its writer knew to have left, as of the newest batch. */
  readonly knownLeft: number;
}

/** Until the first take-over: what follows in the log is a survivor's own. */
export async function storedOutputs(dir: string): Promise<StoredOutputs> {
  const packets: number[] = [];
  const console: Uint8Array[] = [];
  let knownLeft = 0;
  // A killed writer may leave the beginning of a batch.
  for await (const { batch } of new LogReader(dir, { tail: 'torn' })) {
    if (batch.header.term > 1) break;
    knownLeft = Number(batch.header.outputsReleased);
    for (const { kind, len, payload } of batch.records()) {
      if (kind === KIND.NET_OUT) packets.push(len - VNET_BYTES);
      // A copy: the view is of the whole file.
      if (kind === KIND.CHAR_OUT && payload !== null) console.push(Buffer.from(payload));
    }
  }
  return { packets, console: Buffer.concat(console).toString('latin1'), knownLeft };
}

/** A daemon's log, of the VM that was powered on there or with its primary. */
export function protectedLog(stateDir: string): string {
  const logs = join(stateDir, 'log');
  const names = readdirSync(logs).filter((name) => /^[0-9a-f]{32}$/.test(name));
  if (names.length !== 1) throw new Error(`${logs} has ${names.length} logs`);
  return join(logs, names[0] ?? '');
}

/** That it is one log, through its take-over: checksums and numbers, and positions too. */
export async function isOneLog(dir: string): Promise<void> {
  const terms = new Set<number>();
  let covered: Position = POWER_ON;
  let horizon: Position = POWER_ON;
  for await (const { batch } of new LogReader(dir, { tail: 'torn' })) {
    const { term, sequence } = batch.header;
    terms.add(term);
    for (const record of batch.records()) {
      const place = `record ${record.ordinal}, batch ${sequence}, term ${term}`;
      assert.ok(comparePositions(record, covered) >= 0, place);
      covered = record;
    }
    assert.ok(comparePositions(batch.header.horizon, horizon) >= 0, `batch ${sequence}`);
    horizon = batch.header.horizon;
    covered = batch.covered;
  }
  assert.equal([...terms], [1, 2]);
}

/**
 * A copy of the log as it was when `note` was written: lines "BYTES FILE", one for
 * each segment.
 */
export function logAsNoted(note: string, into: string): string {
  mkdirSync(into, { recursive: true });
  for (const line of readFileSync(note, 'utf8').trim().split('\n')) {
    const [bytes = '', ...words] = line.split(' ');
    const file = words.join(' ');
    writeFileSync(join(into, basename(file)), readFileSync(file).subarray(0, Number(bytes)));
  }
  return into;
}
