// SPDX-License-Identifier: Apache-2.0
/**
 * One peer over one connection: heartbeats both ways, its last words, and the
 * moment it is lost. There is no reconnection: a lost peer stays lost, because
 * the fence may already have moved on.
 */

import type { Clock, Timer } from '../base/clock.ts';
import type { UnderstudyError } from '../base/errors.ts';
import type { Position } from '../base/position.ts';
import { FRAME } from '../log/frame.ts';
import { asPeerError, type Link, type LinkEvents } from './connection.ts';
import { PeerMonitor } from './detect.ts';
import {
  decodeGoodbye,
  decodeHeartbeat,
  encodeGoodbye,
  encodeHeartbeat,
  type Goodbye,
  type Heartbeat,
} from './messages.ts';
import type { Frame } from './parser.ts';
import { ClockSkew } from './skew.ts';

export interface Loss {
  /** For people. */
  readonly reason: string;
  /** peer-lost, peer-protocol, peer-timeout. */
  readonly code: UnderstudyError['code'];
  /** Time from the last sign of life to the detection. */
  readonly detectMs: number;
  /** The peer's last words, if it said any. */
  readonly goodbye: Goodbye | null;
}

export function describeGoodbye(goodbye: Goodbye): string {
  return goodbye.message === '' ? goodbye.reason : `${goodbye.reason}: ${goodbye.message}`;
}

/** Its END is in the log. */
export const isEnd = ({ reason }: Goodbye): boolean =>
  reason === 'stop' || reason === 'guest-poweroff';

/** Reasons of a goodbye after which the VM of who says it may still run. */
const SICK: ReadonlySet<string> = new Set([
  'disk-stuck',
  'disk-failing',
  'courier-stuck',
  'control-stuck',
  'log-failed',
]);

export const isSick = ({ reason }: Goodbye): boolean => SICK.has(reason);

/** The peer's own words where it said any, else how it was lost. */
export function describeLoss(loss: Loss): string {
  return loss.goodbye === null ? loss.reason : describeGoodbye(loss.goodbye);
}

export interface SessionHandlers {
  /** Everything but heartbeats and goodbye. A throw loses the peer with that reason. */
  frame(frame: Frame): void;
  heartbeat(beat: Heartbeat): void;
  goodbye(goodbye: Goodbye): void;
  /** Exactly once, unless `finish` was called before. */
  lost(loss: Loss): void;
  drained(): void;
}

/** A daemon that does nothing for so long, and the silence that its peer allows, counts as dead. */
export const STALL_MS_MAX = 1500;
/**
 * A peer whose courier sends and whose heartbeats do not come has a daemon that has stopped. They
 * may wait behind megabytes of state on a slow link; behind acks or a log they do not.
 */
const CONTROL_MS_MAX = { behindState: 10_000, behindLog: 2000 } as const;

export interface Beat {
  readonly position: Position;
  readonly state: string;
  readonly term: number;
  readonly visits: bigint;
}

export class PeerSession {
  readonly #clock: Clock;
  readonly #handlers: SessionHandlers;
  readonly #link: Link;
  #monitor: PeerMonitor | null = null;
  #timer: Timer | null = null;
  #over = false;
  #goodbye: Goodbye | null = null;
  #heardMs: number;
  #beatMs: number;
  #controlMsMax: number = CONTROL_MS_MAX.behindState;
  #counter = 0n;
  #intervalMs = 0;
  /** How long the peer may say nothing. */
  #silenceMs = 0;
  /** How long the link goes on with our heartbeats when we do not come back. */
  #forMs = 0;
  #echo = { counter: 0n, sentAtNs: 0n };
  readonly #skew = new ClockSkew();

  constructor(clock: Clock, connect: (events: LinkEvents) => Link, handlers: SessionHandlers) {
    this.#clock = clock;
    this.#handlers = handlers;
    this.#heardMs = clock.nowMs();
    this.#beatMs = this.#heardMs;
    this.#link = connect({
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#lose(error.message, error.code),
      drained: () => this.#handlers.drained(),
    });
  }

  get remote(): string {
    return this.#link.remote;
  }

  get over(): boolean {
    return this.#over;
  }

  /** It stops, or hands over, by its own word. One that is sick may go on all the same. */
  get leaves(): boolean {
    return this.#goodbye !== null && !isSick(this.#goodbye);
  }

  /** For the courier, which carries batches and acks over it. */
  get link(): Link {
    return this.#link;
  }

  /** The peer's time of day less ours; null: not heard yet. */
  get clockSkewMs(): number | null {
    this.listen();
    return this.#skew.ms;
  }

  /** Since the last sign of life. */
  ageMs(): number {
    this.listen();
    return this.#clock.nowMs() - this.#heardMs;
  }

  /**
   * Looks at what is not told by itself: batches and acks are signs of life, and heartbeats say
   * where the peer is.
   */
  listen(): void {
    const beat = this.#over ? null : this.#link.heardBeat();
    if (beat !== null) {
      try {
        this.#heartbeat(beat.frame, beat.atNs);
      } catch (error) {
        const { message, code } = asPeerError(error);
        this.#lose(message, code);
      }
    }
    const heardMs = this.#over ? null : this.#link.heardMs();
    if (heardMs === null || heardMs <= this.#heardMs) return;
    this.#heardMs = heardMs;
    this.#monitor?.heard(heardMs);
  }

  send(frame: Buffer): boolean {
    return this.#link.send(frame);
  }

  /** @param paused while true, the peer's silence is of our own making */
  startHeartbeats(
    options: { intervalMs: number; missed: number },
    beat: () => Beat,
    paused: () => boolean = () => false,
  ): void {
    const monitor = new PeerMonitor(options, this.#clock.nowMs());
    this.#monitor = monitor;
    const tick = (): void => {
      if (this.#over) return;
      const now = this.#clock.nowMs();
      this.listen();
      const { stalls } = monitor;
      const isPaused = paused();
      if (isPaused) monitor.excuse(now);
      const detection = monitor.tick(now);
      // What it has sent meanwhile may be unread.
      if (isPaused || monitor.stalls !== stalls) this.#beatMs = now;
      const silence = detection?.reason ?? this.#controlSilence(now);
      if (silence !== null) {
        this.#lose(silence, 'peer-timeout');
        return;
      }
      // A handler may have ended it.
      if (this.#over) return;
      const goesOn = this.#beat(beat());
      const waitMs = goesOn ? monitor.untilDeadlineMs(now) : options.intervalMs;
      this.#timer = this.#clock.after(waitMs, tick);
    };
    this.#silenceMs = options.intervalMs * options.missed;
    this.#forMs = this.#silenceMs + STALL_MS_MAX;
    this.#intervalMs = options.intervalMs;
    this.#beatMs = this.#clock.nowMs();
    this.#beat(beat());
    this.#timer = this.#clock.after(options.intervalMs, tick);
  }

  /** What it sends from now on is heartbeats, and acks or a log. */
  expectControl(): void {
    this.#beatMs = this.#clock.nowMs();
    this.#controlMsMax = CONTROL_MS_MAX.behindLog;
  }

  #controlSilence(nowMs: number): string | null {
    const silentMs = nowMs - this.#beatMs;
    if (silentMs <= this.#controlMsMax + this.#silenceMs) return null;
    const ms = Math.round(silentMs);
    return `its control is silent: no heartbeat for ${ms} ms, and its courier sends`;
  }

  /** A heartbeat out of turn: the state has changed and the peer should know. */
  beatNow(beat: Beat): void {
    if (!this.#over) this.#beat(beat);
  }

  /** Last words; the connection stays open until `finish`. */
  sayGoodbye(goodbye: Goodbye): void {
    this.#link.send(encodeGoodbye(goodbye));
  }

  /** We are done with this peer: `lost` will not be called. Queued frames are sent. */
  finish(): void {
    if (this.#over) return;
    this.#stop();
    this.#link.end();
  }

  /** Ends it as finish does, but at once. */
  abandon(reason: string): void {
    if (this.#over) return;
    this.#stop();
    this.#link.destroy(reason);
  }

  /** @returns whether the link goes on by itself */
  #beat(beat: Beat): boolean {
    this.#counter += 1n;
    return this.#link.beat(
      encodeHeartbeat({
        counter: this.#counter,
        sentAtNs: this.#clock.realtimeNs(),
        position: beat.position,
        term: beat.term,
        state: beat.state,
        echoCounter: this.#echo.counter,
        echoSentAtNs: this.#echo.sentAtNs,
        visits: beat.visits,
      }),
      this.#intervalMs,
      this.#forMs,
    );
  }

  #frame(frame: Frame): void {
    if (this.#over) return;
    this.#heardMs = this.#clock.nowMs();
    this.#monitor?.heard(this.#heardMs);
    if (frame.type === FRAME.HEARTBEAT) {
      this.#heartbeat(frame, this.#clock.realtimeNs());
    } else if (frame.type === FRAME.GOODBYE) {
      this.#goodbye = decodeGoodbye(frame);
      this.#handlers.goodbye(this.#goodbye);
    } else {
      this.#handlers.frame(frame);
    }
  }

  #heartbeat(frame: Frame, atNs: bigint): void {
    this.#beatMs = this.#clock.nowMs();
    const beat = decodeHeartbeat(frame);
    this.#echo = { counter: beat.counter, sentAtNs: beat.sentAtNs };
    this.#skew.heard(beat.sentAtNs, atNs);
    this.#handlers.heartbeat(beat);
  }

  #lose(reason: string, code: UnderstudyError['code']): void {
    if (this.#over) return;
    const detectMs = this.ageMs();
    if (this.#over) return; // the last heartbeat was none
    this.#stop();
    this.#link.destroy(reason);
    this.#handlers.lost({ reason, code, detectMs, goodbye: this.#goodbye });
  }

  #stop(): void {
    this.#over = true;
    this.#timer?.cancel();
  }
}
