// SPDX-License-Identifier: Apache-2.0
/**
 * A follower that executes nothing: an image of the VM, changed by whole epochs only, beside a
 * QEMU that was started and waits. What is of no whole epoch when the primary is lost is
 * dropped: nobody has seen what came of it.
 */
import type { StartUnderstudy } from './understudy.ts';
import { type Kind, Waiting } from './waiting.ts';

const IMAGE: Kind = {
  ready: 'waiting',
  handOver: (receiving) => receiving.handOver(),
  ended: (events) => events.exited({ ok: true, code: 'stopped', reason: 'the VM has ended' }),
};

export const startImage: StartUnderstudy = (...given) => Waiting.start(IMAGE, ...given);
