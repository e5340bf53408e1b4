// SPDX-License-Identifier: Apache-2.0
/**
 * Where processes of a pair are killed: at least one place in each of the eight steps
 * of the data path (ARCHITECTURE.md), by a function of the addon or of QEMU (gdb.ts).
 */
import type { Stop } from './gdb.ts';
import type { Side } from './pair.ts';

/** In the order of the data path; the index is the step's number less one. */
export const STEPS = [
  'exit',
  'record',
  'batch',
  'wire',
  'receive',
  'replay',
  'verify',
  'release',
] as const;

export interface KillPoint {
  readonly step: string;
  readonly side: Side;
  readonly process: 'daemon' | 'QEMU';
  /** For the test's title. */
  readonly where: string;
  readonly stops: readonly Stop[];
}

// EXITLOG_NET_OUT in the first argument of exitlog_emit(): an output, and not an input.
const OUTPUT_EMITTED: Stop = { at: '*exitlog_emit', when: '$edi == 7' };
const SEAL: Stop = { at: 'exitlog::Sealer::seal' };
const SEND_BATCH: Stop = { at: 'exitlog::Shipper::sendBatch' };
const STORE: Stop = { at: 'exitlog::Segment::append' };
const SEND_ACK: Stop = { at: 'exitlog::Receiver::sendAck' };
const COMMIT: Stop = { at: 'exitlog::Gate::commit' };

export const KILL_POINTS: readonly KillPoint[] = [
  {
    step: 'exit',
    side: 'primary',
    process: 'QEMU',
    where: 'an output is stamped and not in the ring',
    stops: [OUTPUT_EMITTED],
  },
  {
    step: 'exit',
    side: 'primary',
    process: 'QEMU',
    where: 'an output is in the ring, nobody is told',
    stops: [OUTPUT_EMITTED, { at: '*exitlog_notify' }],
  },
  {
    step: 'record',
    side: 'primary',
    process: 'daemon',
    where: 'records are in the ring and not drained',
    stops: [SEAL],
  },
  {
    step: 'record',
    side: 'primary',
    process: 'daemon',
    where: 'records are copied, the ring still has them',
    stops: [SEAL, { at: 'exitlog::batchHeaderChecksum' }],
  },
  {
    step: 'batch',
    side: 'primary',
    process: 'daemon',
    where: 'a batch is sealed and not shipped',
    stops: [SEND_BATCH],
  },
  {
    step: 'wire',
    side: 'primary',
    process: 'daemon',
    where: 'a batch is not sent yet',
    stops: [SEND_BATCH, { at: 'exitlog::Link::send' }],
  },
  {
    step: 'wire',
    side: 'primary',
    process: 'daemon',
    where: 'a batch is sent and not in its own log',
    stops: [STORE],
  },
  {
    step: 'wire',
    side: 'primary',
    process: 'daemon',
    where: 'a batch is sent and in its own log',
    stops: [{ ...STORE, finish: true }],
  },
  {
    step: 'receive',
    side: 'backup',
    process: 'daemon',
    where: 'a batch is verified and not stored',
    stops: [STORE],
  },
  {
    step: 'receive',
    side: 'backup',
    process: 'daemon',
    where: 'a batch is stored and not acknowledged',
    stops: [STORE, SEND_ACK],
  },
  {
    step: 'receive',
    side: 'backup',
    process: 'daemon',
    where: 'an ack is handed to the system',
    stops: [STORE, SEND_ACK, { at: 'exitlog::Link::send', finish: true }],
  },
  {
    step: 'replay',
    side: 'backup',
    process: 'daemon',
    where: "a batch is not in QEMU's ring",
    stops: [{ at: 'exitlog::Filler::fillVerified' }],
  },
  {
    step: 'replay',
    side: 'backup',
    process: 'daemon',
    where: "records are in QEMU's ring, their horizon is not",
    stops: [{ at: 'exitlog::Filler::offerHorizon' }],
  },
  {
    step: 'replay',
    side: 'backup',
    process: 'QEMU',
    where: 'a record is looked for',
    stops: [{ at: '*exitlog_inject_replay' }],
  },
  {
    step: 'replay',
    side: 'backup',
    process: 'QEMU',
    where: 'a packet is injected',
    stops: [{ at: '*net_apply' }],
  },
  {
    step: 'replay',
    side: 'backup',
    process: 'QEMU',
    where: 'a disk completion is injected',
    stops: [{ at: '*blk_apply' }],
  },
  {
    step: 'verify',
    side: 'backup',
    process: 'QEMU',
    where: 'an output is not compared',
    stops: [{ at: '*exitlog_hash' }],
  },
  {
    step: 'verify',
    side: 'backup',
    process: 'QEMU',
    where: 'an output is compared, its record not used up',
    stops: [{ at: '*exitlog_hash' }, { at: '*exitlog_consume' }],
  },
  {
    step: 'release',
    side: 'primary',
    process: 'daemon',
    where: 'an ack has come',
    stops: [{ at: 'exitlog::Shipper::ackArrived' }],
  },
  {
    step: 'release',
    side: 'primary',
    process: 'daemon',
    where: 'outputs are to be released, QEMU does not know',
    stops: [COMMIT],
  },
  {
    step: 'release',
    side: 'primary',
    process: 'daemon',
    where: 'QEMU may release outputs',
    stops: [{ ...COMMIT, finish: true }],
  },
  {
    step: 'release',
    side: 'primary',
    process: 'QEMU',
    where: 'a packet is about to be written to the tap',
    stops: [{ at: '*exitlog_tap_write' }],
  },
  {
    step: 'release',
    side: 'primary',
    process: 'QEMU',
    where: 'a packet has been written to the tap',
    stops: [{ at: '*exitlog_tap_write', finish: true }],
  },
];

export function titleOf({ step, side, process, where }: KillPoint): string {
  const number = (STEPS as readonly string[]).indexOf(step) + 1;
  return `step ${number} ${step}, the ${side}'s ${process}: ${where}`;
}
