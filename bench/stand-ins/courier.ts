// SPDX-License-Identifier: Apache-2.0
/** A courier with its events kept, and a peer by hand at the other end of its socket. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  Courier,
  type ExitRing,
  type Link,
  type LinkEvents,
  Listener,
  type ShipFrom,
  type ShipOptions,
} from '../../native/kvm-exit-log/index.ts';
import { POWER_ON } from '../../src/base/position.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import { type Ack, decodeAck, encodeAck } from '../../src/wire/messages.ts';
import { type Frame, FrameParser } from '../../src/wire/parser.ts';
import { VM_ID } from './logs.ts';

/** A test that failed leaves its courier, which would keep the process alive for ever. */
const LEFT_MS = 180_000;

export class TestCourier {
  readonly courier: Courier;
  readonly closed: string[] = [];
  readonly failed: string[] = [];
  readonly frames: Buffer[] = [];
  readonly broken: string[] = [];
  readonly stuck: string[] = [];
  console = '';
  guard = '';
  firsts = 0;
  logsEnded = 0;
  progresses = 0;
  /** For the links that it gets. */
  readonly linkEvents: LinkEvents = {
    frame: (frame) => this.frames.push(frame),
    closed: (code, message) => this.closed.push(`${code}: ${message}`),
    drained: () => {},
  };

  constructor(ring: ExitRing) {
    this.courier = new Courier(ring, {
      console: (bytes) => {
        this.console += bytes.toString('latin1');
      },
      guard: (bytes) => {
        this.guard += bytes.toString('latin1');
      },
      first: () => {
        this.firsts += 1;
      },
      logEnded: () => {
        this.logsEnded += 1;
      },
      diverged: (message) => this.broken.push(message),
      logFailed: (errno, path) => this.failed.push(`${errno} ${path}`),
      progress: () => {
        this.progresses += 1;
      },
      stuck: (what, message) => this.stuck.push(`${what}: ${message}`),
      broken: (message) => this.broken.push(message),
    });
    setTimeout(() => this.courier.destroy(), LEFT_MS).unref();
  }
}

export const SHIP: Omit<ShipOptions, 'log'> = {
  vmId: VM_ID,
  term: 1,
  acksNeeded: 1,
  durable: false,
  seal: {
    batchUs: 1000,
    recordsMax: 1024,
    horizonBusyUs: 2000,
    horizonIdleUs: 20_000,
    busyInstructions: 200_000,
    stopInstructions: 0,
    atCuts: false,
  },
};

export class HandPeer {
  readonly socket: Socket;
  /** The courier's end. */
  readonly far: Link;
  readonly frames: Frame[] = [];
  ended = false;
  #started = false;
  #given = false;

  private constructor(socket: Socket, far: Link) {
    this.socket = socket;
    this.far = far;
    const parser = new FrameParser((frame) => {
      const { type, buffer, offset, length } = frame;
      const copy = Buffer.from(buffer.subarray(offset, offset + length));
      this.frames.push({ type, buffer: copy, offset: 0, length });
    });
    socket.on('data', (chunk: Buffer) => parser.push(chunk));
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', () => {
      this.ended = true;
    });
  }

  static async make(): Promise<HandPeer> {
    let take: (link: Link) => void = () => {};
    const far = new Promise<Link>((resolve) => {
      take = resolve;
    });
    const listener = await Listener.on('127.0.0.1', 0, (link) => take(link));
    const socket = connect({ port: listener.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    // A test that fails does not close it, and must still come to its end.
    socket.unref();
    const peer = new HandPeer(socket, await far);
    listener.close();
    return peer;
  }

  /** The courier's end is read, still by this event loop. */
  start(t: TestCourier): void {
    if (!this.#started) this.far.start(t.linkEvents);
    this.#started = true;
  }

  /** Gives the courier's end to it. */
  giveTo(t: TestCourier, from?: ShipFrom): void {
    this.start(t);
    t.courier.attach(this.far, from);
    this.#given = true;
  }

  /** Gives another courier its own end, by a relay: nobody by hand is left. */
  async giveNearTo(t: TestCourier): Promise<void> {
    const next = await HandPeer.make();
    next.giveTo(t);
    this.socket.pipe(next.socket).pipe(this.socket);
  }

  get batches(): Buffer[] {
    return this.frames.filter(({ type }) => type === FRAME.BATCH).map(({ buffer }) => buffer);
  }

  /** Acknowledges a batch, as one that has it does; or another one than it has. */
  ack(change: Partial<Ack>): void {
    const { sequence = 0n } = change;
    const batch = this.batches.find((bytes) => readBatchHeader(bytes, 0).sequence === sequence);
    const batchChecksum = batch === undefined ? 0n : readBatchHeader(batch, 0).checksum;
    this.socket.write(ackOf({ batchChecksum, ...change }));
  }

  get acks(): Ack[] {
    return this.frames.filter(({ type }) => type === FRAME.ACK).map((frame) => decodeAck(frame));
  }

  close(): void {
    this.socket.destroy();
    if (!this.#given) this.far.drop();
  }
}

export function ackOf(change: Partial<Ack>): Buffer {
  return encodeAck({
    sequence: 0n,
    recordEnd: 0n,
    executed: POWER_ON,
    sentAtNs: 0n,
    term: 1,
    durable: false,
    ready: false,
    batchChecksum: 0n,
    inPending: 0n,
    ...change,
  });
}

/** Whether a sanitizer watches the addon (docs/fuzzing.md): it takes up to fifteen times as long. */
export const isSanitized = ['ASAN_OPTIONS', 'TSAN_OPTIONS'].some((name) => name in process.env);

export async function until(what: string, holds: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs * (isSanitized ? 10 : 1);
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
