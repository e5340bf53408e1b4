// SPDX-License-Identifier: Apache-2.0
/**
 * The hello of the side that will follow (greet.ts is the other's): connect, introduce
 * ourselves, be welcomed; again until the deadline while there is no primary to be found.
 */

import { type Clock, sleep } from '../base/clock.ts';
import { UnderstudyError } from '../base/errors.ts';
import { FRAME } from '../log/frame.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import { helloOf, type VmFacts } from '../wire/hello.ts';
import { decodeRefuse, decodeWelcome, encodeHello, type Welcome } from '../wire/messages.ts';
import { type Frame, frameName } from '../wire/parser.ts';
import { PeerSession, type SessionHandlers } from '../wire/session.ts';

export interface MeetOptions {
  readonly clock: Clock;
  readonly connect: (events: LinkEvents) => Link;
  readonly facts: VmFacts;
  /** "10.0.0.1:7700", for messages. */
  readonly where: string;
  /** When to give up; null: never. */
  readonly deadlineMs: number | null;
  readonly retryMs: number;
  readonly waiting: (why: string) => void;
  readonly cancelled: () => boolean;
}

/** A primary that has welcomed us. */
export interface Met {
  readonly session: PeerSession;
  readonly welcome: Welcome;
  /** Who handles the session from now on; call at once. */
  readonly handle: (handlers: SessionHandlers) => void;
}

const HANDSHAKE_TIMEOUT_MS = 5000;

/** Refusals that may be over soon: a primary that just lost its backup, say. */
const PASSING: ReadonlySet<string> = new Set(['has-backup']);

/**
 * @returns null when cancelled
 * @throws UnderstudyError peer-refused (by name), peer-lost (deadline),
 *   peer-protocol (what listens there is no primary)
 */
export async function meet(o: MeetOptions): Promise<Met | null> {
  const fromMs = o.clock.nowMs();
  for (;;) {
    if (o.cancelled()) return null;
    let why: string;
    try {
      return await attempt(o);
    } catch (error) {
      if (!(error instanceof UnderstudyError)) throw error;
      const passing = error.code === 'peer-lost' || error.code === 'peer-timeout';
      if (!passing && !PASSING.has(String(error.details.refusal))) throw error;
      why = error.message;
    }
    const waitedMs = o.clock.nowMs() - fromMs;
    if (o.deadlineMs !== null && waitedMs >= o.deadlineMs) {
      throw new UnderstudyError(
        'peer-lost',
        `no primary at ${o.where} within ${Math.round(waitedMs / 1000)} s (${why}): ` +
          'start `understudy primary` there, or check replication.primary in VM.toml',
      );
    }
    o.waiting(why);
    await sleep(o.clock, o.retryMs);
  }
}

function attempt(o: MeetOptions): Promise<Met> {
  return new Promise((resolve, reject) => {
    let handlers: SessionHandlers = {
      frame: (frame) => {
        if (frame.type === FRAME.REFUSE) {
          session.abandon('refused');
          settle();
          reject(refusedBy(o.where, frame));
          return;
        }
        if (frame.type !== FRAME.WELCOME) {
          throw new UnderstudyError(
            'peer-protocol',
            `${o.where} answered a hello with a ${frameName(frame.type)}`,
          );
        }
        const welcome = decodeWelcome(frame);
        settle();
        resolve({
          session,
          welcome,
          handle: (next) => {
            handlers = next;
            if (lostEarly !== null) next.lost(lostEarly);
          },
        });
        // Until somebody handles the session only its loss may happen.
        handlers = {
          ...handlers,
          frame: () => {
            throw new UnderstudyError('peer-protocol', 'a frame before we were ready');
          },
          lost: (loss) => {
            lostEarly = loss;
          },
        };
      },
      heartbeat: () => {},
      goodbye: () => {},
      lost: (loss) => {
        settle();
        reject(new UnderstudyError(loss.code, `${o.where}: ${loss.reason}`));
      },
      drained: () => {},
    };
    let lostEarly: Parameters<SessionHandlers['lost']>[0] | null = null;
    const session: PeerSession = new PeerSession(o.clock, o.connect, {
      frame: (frame) => handlers.frame(frame),
      heartbeat: (beat) => handlers.heartbeat(beat),
      goodbye: (goodbye) => handlers.goodbye(goodbye),
      lost: (loss) => handlers.lost(loss),
      drained: () => handlers.drained(),
    });
    const timer = o.clock.after(HANDSHAKE_TIMEOUT_MS, () => {
      session.abandon('no answer');
      reject(
        new UnderstudyError('peer-timeout', `${o.where}: no answer in ${HANDSHAKE_TIMEOUT_MS} ms`),
      );
    });
    const settle = (): void => timer.cancel();
    session.send(encodeHello(helloOf(o.facts)));
  });
}

function refusedBy(where: string, frame: Frame): UnderstudyError {
  const { code, message, expected, actual } = decodeRefuse(frame);
  return new UnderstudyError(
    'peer-refused',
    `the primary at ${where} refused: ${code}: ${message}`,
    { details: { refusal: code, expected, actual } },
  );
}
