// SPDX-License-Identifier: Apache-2.0
/** A courier that receives into a log, from a peer by hand. */
import { join } from 'node:path';
import { ExitRing, type ReceiveOptions } from '../../native/kvm-exit-log/index.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { HandPeer, TestCourier } from './courier.ts';
import { tempDir, VM_ID, WRITER } from './logs.ts';

/** @param folder the log's is below it */
export async function receiving(
  options: Partial<ReceiveOptions> = {},
  shape: ConstructorParameters<typeof ExitRing>[0] = {},
  folder = tempDir('receive'),
) {
  const ring = new ExitRing(shape);
  const dir = join(folder, 'log');
  const file = new LogFile(dir, WRITER);
  const peer = await HandPeer.make();
  const t = new TestCourier(ring);
  t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log: file.start, ...options });
  peer.giveTo(t);
  file.close();
  const end = (): void => {
    t.courier.destroy();
    ring.destroy();
    peer.close();
  };
  return { ring, dir, peer, t, courier: t.courier, end };
}
