// SPDX-License-Identifier: Apache-2.0
/** A backup by image, and a primary by hand at the other end of its link. */
import { readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HandPeer, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { readLog, tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, Image } from '../../native/kvm-exit-log/index.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { EpochSender, PAGE, PAGES, PART, page } from './image-epochs.ts';

/** Its disk, at first. */
export const DISK = Buffer.alloc(4 * PAGE, 'd');

export async function receiving({ durable = false } = {}) {
  const ring = new ExitRing();
  const dir = tempDir('image-receive');
  const disk = join(dir, 'disk.raw');
  writeFileSync(disk, DISK);
  const image = new Image(PAGES * PAGE, [disk], durable);
  const file = new LogFile(join(dir, 'log'), WRITER);
  const t = new TestCourier(ring);
  const peer = await HandPeer.make();
  t.courier.receive({ vmId: VM_ID, term: 1, durable, log: file.start, image });
  peer.giveTo(t);
  file.close();
  const memory = (at: number): string => {
    const one = Buffer.alloc(1);
    readSync(image.memoryFd, one, 0, 1, at * PAGE);
    return one[0] === 0 ? '' : one.toString();
  };
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    image.release();
    peer.close();
  };
  /** Sequences of the log, which is closed with its courier. */
  const stored = async (): Promise<number> => {
    await t.courier.close();
    return (await readLog(join(dir, 'log'))).sequences.length;
  };
  const { restFd } = image;
  const rest = `/proc/self/fd/${restFd}`;
  return { ring, dir, rest, restFd, disk, peer, t, courier: t.courier, image, memory, stored, end };
}

export type Backup = Awaited<ReturnType<typeof receiving>>;

/** After an epoch that leaves a 1 in the first page. */
export async function afterOne(s: Backup): Promise<EpochSender> {
  const sender = new EpochSender();
  s.peer.socket.write(sender.whole([{ part: PART.RAM, data: page('1') }], 'one'));
  await until('the first epoch is there', () => s.memory(0) === '1');
  await until('and acknowledged', () => s.peer.acks.length === 1);
  return sender;
}
