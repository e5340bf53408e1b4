// SPDX-License-Identifier: Apache-2.0
/**
 * The state of a simulated VM on its way to a backup that joins it: as frames that the addon
 * makes, and takes apart again after its own checks. Files and threads are left out.
 */
import { intake, stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { type ErrorCode, errorCodeOf, messageOf, UnderstudyError } from '../../src/base/errors.ts';
import type { Origin } from '../../src/log/entrance.ts';
import { FRAME } from '../../src/log/frame.ts';
import type { StateSink, StateSinkEvents } from '../../src/replica/ports.ts';
import type { Sent } from '../../src/wire/joining.ts';
import type { Frame } from '../../src/wire/parser.ts';
import type { PeerSession } from '../../src/wire/session.ts';
import type { Host, SimLink } from './world.ts';

/** What a simulated checkpoint has. */
export interface SimState {
  readonly icount: bigint;
  readonly outputs: bigint;
  readonly released: bigint;
}

/** The disk of a simulated VM; its parts are this, and the checkpoint's only file. */
export const DISK_BYTES = 4096;

export function pack(state: SimState): Buffer {
  return Buffer.from([state.icount, state.outputs, state.released].join(' '));
}

export function unpack(text: string): SimState {
  const [icount = 0n, outputs = 0n, released = 0n] = text.split(' ').map(BigInt);
  return { icount, outputs, released };
}

/** Sends pieces over a session, in their order. */
export class SimSender {
  readonly #to: PeerSession;
  pieces = 0n;

  constructor(to: PeerSession) {
    this.#to = to;
  }

  send(part: number, offset: bigint, piece: { data: Uint8Array } | { bytes: bigint }): void {
    this.#to.send(stateFrame({ ordinal: this.pieces, part, offset, ...piece }));
    this.pieces += 1n;
  }
}

/** The sink of a joining backup in the simulation: the chain is the state itself. */
export class SimSink implements StateSink {
  readonly #host: Host;
  readonly #intake = intake();
  #events: StateSinkEvents | null = null;
  /** Frames that wait to be written, in their order. */
  readonly #waiting: Buffer[] = [];
  #writes = false;
  #begun = false;
  #state = '';
  #done: (() => void)[] = [];
  #over = false;
  pressed = false;

  constructor(host: Host) {
    this.#host = host;
  }

  blocks(): Promise<readonly BigUint64Array[]> {
    return Promise.resolve([new BigUint64Array(1)]);
  }

  open({ link }: PeerSession, events: StateSinkEvents): void {
    this.#events = events;
    this.#intake.add(DISK_BYTES, false);
    (link as SimLink).carry((frame) => this.#frame(frame));
  }

  entitled(): void {}

  checkpoint(manifest: string): void {
    this.#intake.add(Number(manifest), true);
  }

  async finish({ start, pieces }: Sent): Promise<Origin | null> {
    while (this.#waiting.length > 0 && !this.#over) {
      await new Promise<void>((resolve) => this.#done.push(resolve));
    }
    if (this.#over) return null;
    this.#try(() => this.#intake.end(pieces));
    return { entrance: start.entrance, chain: this.#state };
  }

  close(): Promise<void> {
    this.#over = true;
    this.#wake();
    return Promise.resolve();
  }

  #frame({ type, buffer, offset, length }: Frame): boolean {
    if (type !== FRAME.STATE) return false;
    if (this.#over) return true;
    this.#waiting.push(Buffer.from(buffer.subarray(offset, offset + length)));
    this.#write();
    return true;
  }

  /** Its thread takes a while for each. */
  #write(): void {
    const frame = this.#waiting[0];
    if (frame === undefined || this.#writes) return;
    this.#writes = true;
    this.#host.after(this.#host.world.random.next() * 5, () => {
      this.#writes = false;
      if (this.#over) return;
      if (!this.#begun) this.#events?.receiving();
      this.#begun = true;
      this.#try(() => {
        const { part, data } = this.#intake.take(frame);
        if (part === 1) this.#state = `${this.#state}${data ?? ''}`;
      });
      this.#waiting.shift();
      if (this.#waiting.length === 0) this.#wake();
      else this.#write();
    });
  }

  #try(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#over = true;
      const code = (errorCodeOf(error) ?? 'internal') as ErrorCode;
      this.#events?.failed(new UnderstudyError(code, messageOf(error)));
    }
  }

  #wake(): void {
    for (const resolve of this.#done.splice(0)) resolve();
  }
}
