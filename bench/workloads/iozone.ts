// SPDX-License-Identifier: Apache-2.0
/**
 * IOzone in the guest on ext4: 4 KiB O_SYNC writes, buffered writes with one fsync at the
 * end, and a read with nothing in the guest's page cache. Bytes by the host's wall-clock.
 */
import { emptyGuest } from './guest.ts';
import { type Part, partOf, ready, secondsOf, type Workload } from './workload.ts';

const MIB = 2 ** 20;
/** MiB of the two files. */
const SIZES = { quick: { osync: 2, fsync: 32 }, full: { osync: 2, fsync: 64 } } as const;

export const iozone: Workload = {
  name: 'iozone',
  title: 'IOzone',
  figures: [
    { name: 'O_SYNC write', unit: 'KB/s', better: 'more' },
    { name: 'buffered+fsync write', unit: 'KB/s', better: 'more' },
    { name: 'read', unit: 'KB/s', better: 'more' },
  ],
  served: false,
  seconds: { quick: 3, full: 5 },
  prepare(scale) {
    const { osync, fsync } = SIZES[scale];
    return emptyGuest(`us.run=iozone us.args=${osync}m,${fsync}m`);
  },
  async measure(vm, scale) {
    const { osync, fsync } = SIZES[scale];
    await ready(vm);
    const rate = (part: Part, mib: number): number => (mib * MIB) / 1000 / secondsOf(part);
    const written = await partOf(vm, 'osync');
    const buffered = await partOf(vm, 'fsync');
    const read = await partOf(vm, 'read');
    return {
      values: {
        'O_SYNC write': rate(written, osync),
        'buffered+fsync write': rate(buffered, fsync),
        read: rate(read, fsync),
      },
      parts: { 'O_SYNC write': written, 'buffered+fsync write': buffered, read },
    };
  },
};
