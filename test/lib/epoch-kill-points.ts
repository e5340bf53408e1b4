// SPDX-License-Identifier: Apache-2.0
/**
 * Where processes of a pair by checkpoint are killed: at each step of an epoch on the side that
 * is cut, of its commit on the other, and of a take-over.
 */
import type { KillPoint } from './kill-points.ts';

const CUT = { step: 'cut', side: 'primary', process: 'QEMU' } as const;
const SHIP = { step: 'ship', side: 'primary', process: 'daemon' } as const;
const COMMIT = { step: 'commit', side: 'backup', process: 'daemon' } as const;
const PUT = 'exitlog::States::put';

export const CUTS: readonly KillPoint[] = [
  { ...CUT, where: 'a cut begins', stops: [{ at: '*epoch_ram_cut' }] },
  {
    ...CUT,
    where: 'pages are put, devices are not',
    stops: [{ at: '*epoch_ram_cut' }, { at: '*checkpoint_sections' }],
  },
  { ...CUT, where: 'devices are put, the end is not', stops: [{ at: '*exitlog_state_whole' }] },
  {
    ...CUT,
    where: 'the end is put, CHECKPOINT is not in the log',
    stops: [{ at: '*exitlog_state_whole', finish: true }],
  },
  { ...CUT, where: 'CHECKPOINT is in the log', stops: [{ at: '*exitlog_event_cut' }] },
  { ...SHIP, where: 'a piece of state is not sent', stops: [{ at: PUT }] },
  {
    ...SHIP,
    where: 'half of a frame of state is sent',
    stops: [{ at: PUT }, { at: 'exitlog::Link::send', does: 'set $rdx = $rdx / 2', finish: true }],
  },
  {
    ...SHIP,
    where: 'all state of an epoch is sent, its batch is not',
    stops: [{ at: 'exitlog::States::finish', finish: true }],
  },
  {
    ...SHIP,
    where: 'the batch that ends it is sent',
    stops: [
      { at: 'exitlog::States::finish' },
      { at: 'exitlog::Shipper::sendBatch' },
      { at: 'exitlog::Link::send', finish: true },
    ],
  },
  {
    ...SHIP,
    where: 'its ack has come, its outputs are held',
    stops: [{ at: 'exitlog::Gate::commit' }],
  },
];

export const COMMITS: readonly KillPoint[] = [
  {
    ...COMMIT,
    where: 'a piece of state has come',
    stops: [{ at: 'exitlog::ImageFollower::takeState' }],
  },
  {
    ...COMMIT,
    where: 'a piece of state is staged',
    stops: [{ at: 'exitlog::ImageFollower::takeState', finish: true }],
  },
  {
    ...COMMIT,
    where: 'an epoch is whole and not in the disk journal',
    stops: [{ at: 'exitlog::DiskJournal::prepare' }],
  },
  {
    ...COMMIT,
    where: 'it is in the disk journal, its log is not stored',
    stops: [{ at: 'exitlog::DiskJournal::prepare', finish: true }],
  },
  {
    ...COMMIT,
    where: 'its log is stored, it is not acknowledged',
    stops: [{ at: 'exitlog::Segment::append', finish: true }],
  },
  {
    ...COMMIT,
    where: 'it is acknowledged and not applied',
    stops: [{ at: 'exitlog::Image::commit' }],
  },
  {
    ...COMMIT,
    where: 'its disk is written, its memory is not',
    stops: [{ at: 'exitlog::DiskJournal::end', finish: true }],
  },
  {
    ...COMMIT,
    where: 'it is applied, its QEMU has not heard',
    stops: [{ at: 'exitlog::Image::commit' }, { at: 'exitlog::Filler::hear' }],
  },
  { ...COMMIT, process: 'QEMU', where: 'it waits', stops: [{ at: '*exitlog_image_take' }] },
];

const TAKE_OVER = { step: 'take-over', side: 'backup', process: 'daemon' } as const;
const HAND_OVER = 'exitlog::Courier::handOver';

/** In the order of a take-over. */
export const TAKE_OVERS: readonly (KillPoint & { readonly isLive?: true })[] = [
  {
    ...TAKE_OVER,
    where: 'the primary is lost, the fence is not claimed',
    stops: [{ at: 'exitlog::Courier::command' }],
  },
  { ...TAKE_OVER, where: 'the fence is claimed', stops: [{ at: HAND_OVER }] },
  {
    ...TAKE_OVER,
    where: 'what is of no whole epoch is dropped',
    stops: [{ at: HAND_OVER }, { at: 'exitlog::Image::drop', finish: true }],
  },
  {
    ...TAKE_OVER,
    where: 'the rest of the image is written, the disks have their journal',
    stops: [{ at: HAND_OVER }, { at: 'exitlog::Image::leaveDisks' }],
  },
  {
    ...TAKE_OVER,
    where: 'the journal is finished',
    stops: [{ at: HAND_OVER }, { at: 'exitlog::Image::leaveDisks', finish: true }],
  },
  {
    ...TAKE_OVER,
    process: 'QEMU',
    where: 'the state of devices is not loaded',
    stops: [{ at: '*checkpoint_state_restore' }],
  },
  {
    ...TAKE_OVER,
    process: 'QEMU',
    where: 'the state of devices is loaded',
    stops: [{ at: '*checkpoint_state_restore', finish: true }],
  },
  {
    ...TAKE_OVER,
    process: 'QEMU',
    where: 'it runs, nothing is announced',
    stops: [{ at: '*exitlog_announce_begin' }],
    isLive: true,
  },
  {
    ...TAKE_OVER,
    process: 'QEMU',
    where: 'it has announced itself',
    stops: [{ at: '*exitlog_announce_begin' }, { at: '*exitlog_announce', finish: true }],
    isLive: true,
  },
];

export function epochTitle({ step, side, process, where }: KillPoint, protocol: string): string {
  return `${protocol}, ${step}, the ${side}'s ${process}: ${where}`;
}
