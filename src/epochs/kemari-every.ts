// SPDX-License-Identifier: Apache-2.0
/**
 * The `kemari-every` protocol: `kemari`, but the VM is synchronized at every event, what comes
 * to it (timers, packets, its disk's answers, what is typed) as well as what it puts out. What
 * Kemari is compared with by those who made it (kemari.ts): all events, or those that
 * the outside can see.
 */
import { CUT_EVENTS } from './events.ts';
import { kemari } from './kemari.ts';
import type { Protocol, ProtocolOptions } from './protocol.ts';

export function kemariEvery(options: ProtocolOptions): Protocol {
  const like = kemari(options);
  return {
    ...like,
    name: 'kemari-every',
    cut: like.cut && {
      ...like.cut,
      events: CUT_EVENTS,
    },
  };
}
