// SPDX-License-Identifier: Apache-2.0
/** A replica that is given its log by hand, and goes on with it when it is live. */
import { once } from 'node:events';
import { HandPeer, TestCourier, until } from '../../bench/stand-ins/courier.ts';
import type { ExitRing } from '../../native/kvm-exit-log/index.ts';
import { RECORDER } from '../../src/epochs/lockstep.ts';
import type { FirstBatch } from '../../src/log/entrance.ts';
import { LogFile } from '../../src/log/log-file.ts';

/** @param start null: power-on */
export async function carry(
  ring: ExitRing,
  dir: string,
  { vmId, start }: { readonly vmId: Buffer; readonly start: FirstBatch | null },
) {
  const firstSequence = start?.sequence ?? 0n;
  const log = new LogFile(dir, { vmId, term: 1, qemuBuildId: 'a test', firstSequence });
  const t = new TestCourier(ring);
  const from = start === null ? {} : { start };
  t.courier.receive({ vmId, term: 1, durable: false, log: log.start, ...from });
  log.close();
  const peer = await HandPeer.make();
  peer.giveTo(t);
  return {
    t,
    async give(frame: Uint8Array): Promise<void> {
      if (!peer.socket.write(frame)) await once(peer.socket, 'drain');
    },
    /** It has replayed all up to this batch. */
    async replayed(last: bigint): Promise<void> {
      const isLast = (): boolean => t.courier.receiveFacts().storedSequence === last;
      await until('all of it came', isLast, 120_000);
      await until('it is given on', () => t.courier.receiveFacts().empty, 120_000);
      await until('the log is used up', () => ring.status().inPending === 0, 120_000);
    },
    /** Ships what it does from here on, and needs no acks. */
    goOn(): void {
      peer.close();
      t.courier.closeReceive();
      const numbers = { acksNeeded: 0, durable: false, seal: RECORDER.seal };
      t.courier.ship({ vmId, term: 2, ...numbers, log: 'received' });
    },
  };
}
