// SPDX-License-Identifier: Apache-2.0
/** What both kinds of source of a new backup's state (image-source.ts, state-source.ts) stand on. */
import type { ExitRing, StateSender } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { type Clock, sleep } from '../base/clock.ts';
import { UnderstudyError } from '../base/errors.ts';
import { Connection } from '../wire/connection.ts';
import type { PeerSession } from '../wire/session.ts';

/** The VM that is given of. */
export interface SourceOptions {
  readonly clock: Clock;
  readonly ring: ExitRing;
  /** False: QEMU is gone. */
  readonly alive: () => boolean;
  readonly images: readonly string[];
  /** Why nothing can be given, or null. */
  readonly refusal: string | null;
}

const POLL_MS = 2;

/**
 * Waits until QEMU has done what it was asked for.
 * @param late what is said where it has not in time
 * @throws UnderstudyError checkpoint-failed
 */
export async function untilDone(
  { clock, alive }: Pick<SourceOptions, 'clock' | 'alive'>,
  done: () => boolean,
  limitMs: number,
  late: string,
): Promise<void> {
  const deadlineMs = clock.nowMs() + limitMs;
  while (!done()) {
    if (!alive()) throw new UnderstudyError('checkpoint-failed', `the VM ended: ${late}`);
    if (clock.nowMs() > deadlineMs) {
      throw new UnderstudyError('checkpoint-failed', `${late} within ${limitMs / 1000} s`);
    }
    await sleep(clock, POLL_MS);
  }
}

/** Sends with a sender of state that ends with the signal, and in any case. */
export async function sending<T>(
  { link }: PeerSession,
  signal: AbortSignal,
  send: (sender: StateSender) => Promise<T>,
): Promise<T> {
  assert(link instanceof Connection, 'a real peer');
  const sender = link.sendState();
  const close = (): void => sender.close();
  signal.addEventListener('abort', close);
  try {
    return await send(sender);
  } finally {
    signal.removeEventListener('abort', close);
    sender.close();
  }
}
