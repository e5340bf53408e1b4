// SPDX-License-Identifier: Apache-2.0
/**
 * Made test/golden/log-v1. Not to be run again for version 1: its bytes are what
 * must stay readable. For a new log version: `node --import tsx test/golden/make-log.ts`,
 * into a folder of that version, and keep the old ones.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DraftRecord, writeLog } from '../../bench/stand-ins/batches.ts';
import { writeFrames } from '../../bench/stand-ins/log-writer.ts';
import { LOG_VERSION } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { describeLog } from '../lib/describe-log.ts';

const vmId = Buffer.from(
  '75 6e 64 65 72 73 74 75 64 79 2d 67 6f 6c 64 31'.replaceAll(' ', ''),
  'hex',
);
const digest = Buffer.alloc(40);
[0x11n, 0x22n, 0x33n, 0x44n, 1n].forEach((value, index) => {
  digest.writeBigUInt64LE(value, index * 8);
});
const none = { channel: 0, len: 0, arg: 0n };
const texts: [number, Partial<DraftRecord>][] = [
  [KIND.ENTROPY, { payload: Buffer.from('deadbeef01', 'hex') }],
  [KIND.CHAR_OUT, { payload: Buffer.from('login: ') }],
  [KIND.CHAR_IN, { payload: Buffer.from('root\n') }],
  [KIND.BLK_DONE, { arg: 1n }],
  [KIND.BLK_DONE, { channel: 1, arg: 2n, len: 0xffff_fffb }],
  [KIND.NET_IN, { channel: 1, payload: Buffer.from(`${'00'.repeat(12)}ffffffffffff`, 'hex') }],
  [KIND.NET_OUT, { channel: 1, len: 60, arg: 0xfeed_face_cafe_beefn }],
  [KIND.RESET, {}],
  [KIND.CLOCK, { arg: 123n }],
  [KIND.POWERDOWN, {}],
  [KIND.DIGEST, { payload: digest }],
  [KIND.END, { channel: 1 }],
];
const records = texts.map(([kind, extra], index): DraftRecord => {
  const icount = BigInt(index) * 1_000_003n;
  return { ...none, icount, vtimeNs: icount * 2n, kind, ...extra };
});
const dir = fileURLToPath(new URL(`log-v${LOG_VERSION}/`, import.meta.url));
const options = { vmId, term: 1, qemuBuildId: '0123456789abcdef', agentVersion: '0.1.0' };
writeFrames(dir, writeLog(vmId, records, 3), { ...options, segmentBytesMax: 800 });
writeFileSync(`${dir}expected.json`, `${JSON.stringify(await describeLog(dir), null, 2)}\n`);
