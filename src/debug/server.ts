// SPDX-License-Identifier: Apache-2.0
/** Where gdb connects: each connection has machines of its own, so several can debug. */
import { createServer, type Server } from 'node:net';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Recording } from '../record/recording.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { checkInside, type Extent, extentOf } from './extent.ts';
import { Pool, Starts } from './pool.ts';
import { Session } from './session.ts';
import { Traveller } from './traveller.ts';

const HOST = '127.0.0.1';

export interface DebugServerOptions {
  readonly recording: Recording;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  /** Where each debugger begins; null: where the recording does. */
  readonly from: bigint | 'end' | null;
  /** 0: any that is free. */
  readonly port: number;
  readonly onWarning: (text: string) => void;
  readonly onSessions: (count: number) => void;
}

export class DebugServer {
  readonly port: number;
  readonly extent: Extent;
  readonly #server: Server;
  readonly #sessions: Set<Session>;

  private constructor(server: Server, port: number, extent: Extent, sessions: Set<Session>) {
    this.#server = server;
    this.port = port;
    this.extent = extent;
    this.#sessions = sessions;
  }

  /** @throws UnderstudyError usage | port-in-use | log-* */
  static async start(options: DebugServerOptions): Promise<DebugServer> {
    const { recording, qemu, logger, from, onWarning, onSessions } = options;
    const extent = await extentOf(recording);
    const icount = from === 'end' ? extent.end : (from ?? extent.begin);
    checkInside(icount, extent);
    const starts = new Starts(recording, onWarning);
    const sessions = new Set<Session>();
    const server = createServer((socket) => {
      const pool = new Pool({ recording, qemu, logger, starts });
      const begin = (): Promise<Traveller> => Traveller.start(pool, extent, icount);
      const session = new Session({ socket, recording, pool, logger, begin });
      sessions.add(session);
      onSessions(sessions.size);
      void session.ended.then(() => {
        sessions.delete(session);
        onSessions(sessions.size);
      });
    });
    const port = await listen(server, options.port);
    return new DebugServer(server, port, extent, sessions);
  }

  async close(): Promise<void> {
    this.#server.close();
    const all = [...this.#sessions];
    for (const session of all) session.close();
    await Promise.all(all.map(({ ended }) => ended));
  }
}

function listen(server: Server, port: number): Promise<number> {
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
    server.listen(port, HOST, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
