// SPDX-License-Identifier: Apache-2.0
/** An ack of which every field has a value of its own. */
import { atIcount } from '../../src/base/position.ts';
import type { Ack } from '../../src/wire/messages.ts';

export const ack: Ack = {
  sequence: 12n,
  recordEnd: (1n << 63n) + 5n,
  executed: { point: atIcount(1n << 50n), vtimeNs: -7n },
  sentAtNs: 1_700_000_000_000_000_000n,
  term: 3,
  durable: true,
  ready: false,
  batchChecksum: 0xdead_beef_0000_0001n,
  inPending: 9n,
};
