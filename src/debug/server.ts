// SPDX-License-Identifier: Apache-2.0
/** Where gdb connects: each connection has inferiors of its own, so several can debug. */
import { createServer, type Server, type Socket } from 'node:net';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Point } from '../base/position.ts';
import type { Recording } from '../recording/folder.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { checkInside, type Extent, extentOf } from './extent.ts';
import { Pool } from './pool.ts';
import { Session } from './session.ts';
import { Starts } from './starts.ts';
import { Traveller } from './traveller.ts';

const HOST = '127.0.0.1';

export interface DebugServerOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Where each debugger begins; null: where the recording does. */
  readonly from: Point | 'end' | null;
  /** 0: any that is free. */
  readonly port: number;
  readonly onWarning: (text: string) => void;
  readonly onSessions: (count: number) => void;
}

/** A place in the recording that nobody has yet. */
interface Seat {
  readonly pool: Pool;
  readonly traveller: Promise<Traveller>;
}

export class DebugServer {
  readonly #options: DebugServerOptions;
  readonly #server: Server;
  readonly #extent: Extent;
  readonly #starts: Starts;
  readonly #sessions = new Set<Session>();
  /** gdb does not wait long for its first answers: an inferior stands ready for the next. */
  #seat: Seat;

  private constructor(options: DebugServerOptions, extent: Extent) {
    this.#options = options;
    this.#extent = extent;
    this.#starts = new Starts(options.recording, options.onWarning);
    this.#server = createServer((socket) => this.#accept(socket));
    this.#seat = this.#newSeat();
  }

  /**
   * Resolves when the first debugger would find its place.
   * @throws UnderstudyError usage | port-in-use | log-* | qemu-* | divergence
   */
  static async start(options: DebugServerOptions): Promise<DebugServer> {
    const extent = await extentOf(options.recording);
    checkInside(fromOf(options, extent), extent);
    const server = new DebugServer(options, extent);
    try {
      await server.#seat.traveller;
      await listen(server.#server, options.port);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get extent(): Extent {
    return this.#extent;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Ends every debugger's session. */
  async close(): Promise<void> {
    this.#server.close();
    const all = [...this.#sessions];
    for (const session of all) session.close();
    await Promise.all([this.#seat.pool.close(), ...all.map(({ ended }) => ended)]);
  }

  #accept(socket: Socket): void {
    const { recording, logger, onSessions } = this.#options;
    const session = new Session({ socket, recording, logger, ...this.#seat });
    this.#seat = this.#newSeat();
    this.#sessions.add(session);
    onSessions(this.#sessions.size);
    void session.ended.then(() => {
      this.#sessions.delete(session);
      onSessions(this.#sessions.size);
    });
  }

  #newSeat(): Seat {
    const { recording, qemu, logger } = this.#options;
    const pool = new Pool({ recording, qemu, logger, starts: this.#starts });
    const from = fromOf(this.#options, this.#extent);
    const traveller = Traveller.start(pool, this.#extent, from);
    traveller.catch(() => {}); // whoever takes the seat is told
    return { pool, traveller };
  }
}

function fromOf({ from }: DebugServerOptions, extent: Extent): Point {
  return from === 'end' ? extent.end : (from ?? extent.begin);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const busy = errorCodeOf(cause) === 'EADDRINUSE';
      reject(
        new UnderstudyError(
          busy ? 'port-in-use' : 'address-unusable',
          busy
            ? `port ${port} on ${HOST} is in use: give another --port, or none for a free one`
            : `cannot listen on ${HOST}:${port}: ${messageOf(cause)}`,
          { cause },
        ),
      );
    });
    server.listen(port, HOST, resolve);
  });
}
