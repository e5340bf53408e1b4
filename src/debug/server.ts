// SPDX-License-Identifier: Apache-2.0
/**
 * Where gdb connects: each connection has inferiors of its own, so several can debug.
 *
 * Who connects reads the guest's memory. So it is a socket in a folder that is its user's alone;
 * a TCP port, which every user of the host may connect to, is there for who asks for one.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
/** Each takes QEMUs of its own, and copies of the disks. */
const SESSIONS_MAX = 16;

export interface DebugServerOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Where each debugger begins; null: where the recording does. */
  readonly from: Point | 'end' | null;
  /** 0: any that is free; null: a socket of this user's. */
  readonly port: number | null;
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
  /** Folder of the socket; null: it is a port. */
  readonly #dir: string | null;
  /** gdb does not wait long for its first answers: an inferior stands ready for the next. */
  #seat: Seat;

  private constructor(options: DebugServerOptions, extent: Extent) {
    this.#options = options;
    this.#extent = extent;
    this.#starts = new Starts(options.recording, options.onWarning);
    this.#server = createServer((socket) => this.#accept(socket));
    this.#dir = options.port === null ? mkdtempSync(join(tmpdir(), 'understudy-gdb-')) : null;
    this.#seat = this.#newSeat();
  }

  /**
   * Resolves when the first debugger would find its place.
   * @throws UnderstudyError usage | port-in-use | address-unusable | log-* | qemu-* | divergence
   */
  static async start(options: DebugServerOptions): Promise<DebugServer> {
    const extent = await extentOf(options.recording);
    checkInside(fromOf(options, extent), extent);
    const server = new DebugServer(options, extent);
    try {
      await server.#seat.traveller;
      await listen(server.#server, server.#socket ?? (options.port as number));
      if (server.#socket !== null) chmodSync(server.#socket, 0o600);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get extent(): Extent {
    return this.#extent;
  }

  /** What gdb's `target remote` takes. */
  get target(): string {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null
      ? `${HOST}:${address.port}`
      : (address ?? '');
  }

  get #socket(): string | null {
    return this.#dir === null ? null : join(this.#dir, 'gdb');
  }

  /** Ends every debugger's session. */
  async close(): Promise<void> {
    this.#server.close();
    const all = [...this.#sessions];
    for (const session of all) session.close();
    await Promise.all([this.#seat.pool.close(), ...all.map(({ ended }) => ended)]);
    if (this.#dir !== null) rmSync(this.#dir, { recursive: true, force: true });
  }

  #accept(socket: Socket): void {
    const { recording, logger, onSessions, onWarning } = this.#options;
    if (this.#sessions.size >= SESSIONS_MAX) {
      onWarning(`a debugger was turned away: ${SESSIONS_MAX} are connected`);
      socket.destroy();
      return;
    }
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

/** @param where a port, or the path of a socket */
function listen(server: Server, where: number | string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const busy = errorCodeOf(cause) === 'EADDRINUSE';
      reject(
        new UnderstudyError(
          busy ? 'port-in-use' : 'address-unusable',
          busy
            ? `port ${where} on ${HOST} is in use: give another --port, or 0 for a free one`
            : `cannot listen on ${where}: ${messageOf(cause)}`,
          { cause },
        ),
      );
    });
    if (typeof where === 'string') server.listen(where, resolve);
    else server.listen(where, HOST, resolve);
  });
}
