// SPDX-License-Identifier: Apache-2.0
/**
 * The hello of the side that leads, or will (meet.ts is the other's): every connection is a stranger until its
 * hello is accepted. A stranger that is silent, sends garbage or is refused
 * changes nothing for the VM.
 */
import { assert } from '../base/assert.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { FRAME } from '../log/frame.ts';
import type { Link, LinkEvents } from '../wire/connection.ts';
import { checkHello, type VmFacts } from '../wire/hello.ts';
import { decodeHello, encodeRefuse, type Hello, type Refuse } from '../wire/messages.ts';
import { type Frame, frameName } from '../wire/parser.ts';
import { type Loss, PeerSession, type SessionHandlers } from '../wire/session.ts';

/** A refusal that may be over soon: ask again. */
export function hasBackup(busy: string): Refuse {
  return { code: 'has-backup', message: `the primary has: ${busy}`, expected: '', actual: busy };
}

/**
 * Why this backup cannot join a VM that runs, or null when it can.
 * @param now what the VM is busy with, and why it cannot be joined at all
 */
export function judgeHello(
  hello: Hello,
  facts: VmFacts,
  now: { busy: string | null; refusal: string | null },
): Refuse | null {
  if (now.busy !== null) return hasBackup(now.busy);
  if (now.refusal !== null) {
    return {
      code: 'cannot-join',
      message:
        `no backup can join this VM while it runs: ${now.refusal}; ` +
        'stop the primary and start both again',
      expected: 'power-on',
      actual: 'running',
    };
  }
  return checkHello(hello, facts, 'running');
}

const HELLO_TIMEOUT_MS = 5000;
/** Strangers at a time; for one more, the oldest of the address that has most of them goes. */
const STRANGERS_MAX = 8;
/** Nobody of ours says more in a hello. */
const HELLO_BYTES_MAX = 8 * 1024;

/** Whose VM strangers ask for. */
export interface Host {
  /** A refusal, or null when it is accepted and `admit` will be called. */
  judge(hello: Hello): Refuse | null;
  /** @returns what handles the session from now on */
  admit(session: PeerSession, hello: Hello): SessionHandlers;
}

export interface GreetOptions {
  readonly clock: Clock;
  readonly host: Host;
  readonly turnedAway: (remote: string, code: string, reason: string) => void;
}

/** The host of "host:port". */
const sourceOf = (remote: string): string => remote.slice(0, remote.lastIndexOf(':'));

export class Greeter {
  /** Another one once the VM is powered on. */
  host: Host;
  readonly #o: GreetOptions;
  /** With the timer that ends one that says nothing. */
  readonly #strangers = new Map<PeerSession, Timer>();

  constructor(options: GreetOptions) {
    this.#o = options;
    this.host = options.host;
  }

  /** A new connection. */
  meet(connect: (events: LinkEvents) => Link): void {
    let handlers: SessionHandlers = {
      frame: (frame) => this.#hello(session, frame, (next) => (handlers = next)),
      heartbeat: () => {},
      goodbye: () => {},
      lost: (loss) => this.#lost(session, loss),
      drained: () => {},
    };
    const session: PeerSession = new PeerSession(this.#o.clock, connect, {
      frame: (frame) => handlers.frame(frame),
      heartbeat: (beat) => handlers.heartbeat(beat),
      goodbye: (goodbye) => handlers.goodbye(goodbye),
      lost: (loss) => handlers.lost(loss),
      drained: () => handlers.drained(),
    });
    if (this.#strangers.size >= STRANGERS_MAX) this.#makeRoom();
    const timer = this.#o.clock.after(HELLO_TIMEOUT_MS, () => {
      if (!this.#strangers.delete(session)) return;
      session.abandon('no hello');
      this.#o.turnedAway(session.remote, 'peer-timeout', `no hello in ${HELLO_TIMEOUT_MS} ms`);
    });
    this.#strangers.set(session, timer);
  }

  /** Sends everyone away who has not been accepted. */
  close(): void {
    for (const session of [...this.#strangers.keys()]) {
      session.abandon('the primary stops');
      this.#forget(session);
    }
  }

  #hello(session: PeerSession, frame: Frame, hand: (handlers: SessionHandlers) => void): void {
    if (frame.type !== FRAME.HELLO) {
      this.#refuse(session, {
        code: 'peer-protocol',
        message: `expected a hello, got a ${frameName(frame.type)}`,
        expected: 'hello',
        actual: frameName(frame.type),
      });
      return;
    }
    if (frame.length > HELLO_BYTES_MAX) {
      this.#refuse(session, {
        code: 'peer-protocol',
        message: `a hello of ${frame.length} bytes, at most ${HELLO_BYTES_MAX} are read`,
        expected: String(HELLO_BYTES_MAX),
        actual: String(frame.length),
      });
      return;
    }
    const hello = decodeHello(frame);
    const refusal = this.host.judge(hello);
    if (refusal !== null) {
      this.#refuse(session, refusal);
      return;
    }
    this.#forget(session);
    hand(this.host.admit(session, hello));
  }

  /** Connections that say nothing must not keep a backup out. */
  #makeRoom(): void {
    const bySource = new Map<string, PeerSession[]>();
    for (const session of this.#strangers.keys()) {
      const source = sourceOf(session.remote);
      bySource.set(source, [...(bySource.get(source) ?? []), session]);
    }
    const most = [...bySource.values()].reduce((a, b) => (b.length > a.length ? b : a));
    const [oldest] = most;
    assert(oldest !== undefined, 'a source has a connection');
    this.#forget(oldest);
    oldest.abandon('too many connections that have not said hello');
    const reason = `${STRANGERS_MAX} connections have not said hello, ${most.length} from there`;
    this.#o.turnedAway(oldest.remote, 'peer-timeout', reason);
  }

  #refuse(session: PeerSession, refusal: Refuse): void {
    this.#forget(session);
    session.send(encodeRefuse(refusal));
    session.finish();
    this.#o.turnedAway(session.remote, refusal.code, refusal.message);
  }

  #lost(session: PeerSession, loss: Loss): void {
    if (!this.#forget(session)) return;
    this.#o.turnedAway(session.remote, loss.code, loss.reason);
  }

  /** @returns whether it was a stranger */
  #forget(session: PeerSession): boolean {
    this.#strangers.get(session)?.cancel();
    return this.#strangers.delete(session);
  }
}
