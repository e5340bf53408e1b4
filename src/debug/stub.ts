// SPDX-License-Identifier: Apache-2.0
/** The gdbstub of one replaying QEMU: a packet goes, its answer comes, in order. */
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCodeOf } from '../base/errors.ts';
import { encodePacket, RspParser } from './rsp.ts';

const RETRY_MS = 5;

interface Waiting {
  readonly resolve: (text: string) => void;
  readonly reject: (error: Error) => void;
  /** Monitor commands: text that comes before the answer. */
  readonly onOutput: ((hex: string) => void) | null;
}

export class Stub {
  readonly #socket: Socket;
  readonly #parser = new RspParser();
  readonly #waiting: Waiting[] = [];
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', () => {});
    socket.on('close', () => this.#close());
  }

  /** @param isGone whether QEMU has ended, so that nobody will ever listen there */
  static async connect(path: string, isGone: () => boolean): Promise<Stub> {
    for (;;) {
      const socket = createConnection(path);
      try {
        await new Promise<void>((resolve, reject) => {
          socket.once('connect', resolve);
          socket.once('error', reject);
        });
        return new Stub(socket);
      } catch (error) {
        socket.destroy();
        const early = ['ENOENT', 'ECONNREFUSED'].includes(errorCodeOf(error) ?? '');
        if (!early || isGone()) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  /** @throws Error when QEMU ends before it answers */
  ask(packet: string, onOutput: ((hex: string) => void) | null = null): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new Error('QEMU has ended'));
        return;
      }
      this.#waiting.push({ resolve, reject, onOutput });
      this.#socket.write(encodePacket(packet));
    });
  }

  /** A packet that has no answer of its own. */
  tell(packet: string): void {
    if (!this.#closed) this.#socket.write(encodePacket(packet));
  }

  close(): void {
    this.#socket.destroy();
    this.#close();
  }

  #receive(bytes: Buffer): void {
    for (const event of this.#parser.feed(bytes)) {
      if (event.kind !== 'packet') continue;
      this.#socket.write('+');
      const [first] = this.#waiting;
      const output = /^O([0-9a-f]+)$/.exec(event.text);
      if (output !== null && first?.onOutput != null) {
        first.onOutput(output[1] ?? '');
        continue;
      }
      this.#waiting.shift()?.resolve(event.text);
    }
  }

  #close(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('QEMU has ended'));
  }
}
