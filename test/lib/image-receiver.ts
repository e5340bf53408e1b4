// SPDX-License-Identifier: Apache-2.0
/** A courier that receives into an image of its own, and a peer by hand at the other end. */
import { join } from 'node:path';
import { HandPeer, TestCourier } from '../../bench/stand-ins/courier.ts';
import { tempDir, VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, Image } from '../../native/kvm-exit-log/index.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { PAGE, PAGES } from './image-epochs.ts';

/** @param stagedMax bytes of an epoch that are kept; default: an image's own */
export async function imageReceiver(name: string, stagedMax?: number) {
  const ring = new ExitRing();
  const dir = tempDir(name);
  const image = new Image(PAGES * PAGE, [], false, stagedMax);
  const log = new LogFile(join(dir, 'log'), WRITER);
  const t = new TestCourier(ring);
  const peer = await HandPeer.make();
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: log.start, image });
  peer.giveTo(t);
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    image.release();
    peer.close();
    log.close();
  };
  return { dir, image, t, peer, end };
}
