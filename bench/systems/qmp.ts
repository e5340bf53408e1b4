// SPDX-License-Identifier: Apache-2.0
/** QEMU's machine protocol on a UNIX socket, as far as driving a peer takes it (docs/interop/qmp-spec.rst). */
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const CONNECT_TIMEOUT_MS = 10_000;
const POLL_MS = 10;

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Reply {
  readonly id?: number;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

type Arguments = Readonly<Record<string, unknown>>;

interface Awaited {
  readonly fits: (event: QmpEvent) => boolean;
  readonly settle: (event: QmpEvent | null) => void;
}

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (reply: Reply | null) => void>();
  readonly #awaited = new Set<Awaited>();
  #commands = 0;
  #closed = false;

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.#closed = true;
      for (const settle of this.#waiting.values()) settle(null);
      this.#waiting.clear();
      for (const { settle } of this.#awaited) settle(null);
    });
    createInterface(socket).on('line', (line) => {
      const reply = JSON.parse(line) as Reply;
      if (reply.event !== undefined) {
        const event = reply as QmpEvent;
        onEvent(event);
        for (const { fits, settle } of this.#awaited) if (fits(event)) settle(event);
      }
      if (reply.id === undefined) return;
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    });
  }

  /**
   * When QEMU has made its socket, and is ready for commands.
   * @param hasEnded whether it is of no use to wait on
   */
  static async connect(
    path: string,
    hasEnded: () => boolean,
    onEvent: (event: QmpEvent) => void = () => {},
  ): Promise<Qmp> {
    for (const untilMs = performance.now() + CONNECT_TIMEOUT_MS; ; ) {
      try {
        const qmp = new Qmp(await connected(path), onEvent);
        await qmp.execute('qmp_capabilities');
        return qmp;
      } catch (error) {
        if (hasEnded() || performance.now() > untilMs) throw error;
        await sleep(POLL_MS);
      }
    }
  }

  /** @throws Error with QEMU's own description */
  async execute(command: string, args: Arguments = {}): Promise<unknown> {
    if (this.#closed) throw new Error(`${command}: QEMU has ended`);
    this.#commands += 1;
    const id = this.#commands;
    const reply = await new Promise<Reply | null>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
    if (reply === null) throw new Error(`${command}: QEMU ended before it answered`);
    if (reply.error !== undefined) throw new Error(`${command}: ${reply.error.desc}`);
    return reply.return;
  }

  /** The next event that fits, from now on. @throws Error when QEMU ends before it */
  next(fits: (event: QmpEvent) => boolean): Promise<QmpEvent> {
    const event = new Promise<QmpEvent>((resolve, reject) => {
      const one: Awaited = {
        fits,
        settle: (found) => {
          this.#awaited.delete(one);
          if (found === null) reject(new Error('QEMU ended before an event that was waited for'));
          else resolve(found);
        },
      };
      this.#awaited.add(one);
    });
    event.catch(() => {}); // the command that was to bring it about may have failed
    return event;
  }

  /** A command of the human monitor, silent when all is well. @throws Error with what it says */
  async executeHuman(line: string): Promise<void> {
    const said = String(await this.execute('human-monitor-command', { 'command-line': line }));
    if (said.trim() !== '' && said.trim() !== 'OK') throw new Error(`${line}: ${said.trim()}`);
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
