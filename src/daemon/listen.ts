// SPDX-License-Identifier: Apache-2.0
/** Where a live VM's daemon waits for its backup. */
import { createServer, type Server } from 'node:net';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { Address, ReplicationConfig } from '../vm/config.ts';
import { Connection, type Link, type LinkEvents } from '../wire/connection.ts';

/**
 * @param key of the address, and the file it is in, for messages
 * @returns where it listens now
 * @throws UnderstudyError port-in-use | address-unusable
 */
export async function listen(
  server: Server,
  address: Address,
  key: string,
  file: string,
): Promise<string> {
  const where = `${address.host}:${address.port}`;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const code = errorCodeOf(cause);
      if (code === 'EADDRINUSE') {
        reject(
          new UnderstudyError(
            'port-in-use',
            `port ${address.port} on ${address.host} is in use: end what listens there ` +
              `(\`ss -ltnp 'sport = :${address.port}'\` names it), or choose another port for ` +
              `${key} in ${file}`,
            { cause },
          ),
        );
        return;
      }
      reject(
        new UnderstudyError(
          'address-unusable',
          `cannot listen on ${where} (${messageOf(cause)}): ${key} in ${file} ` +
            'must be an address of this host',
          { cause },
        ),
      );
    });
    server.listen({ host: address.host, port: address.port, exclusive: true }, resolve);
  });
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? `${address.host}:${bound.port}` : where;
}

const RETRY_MS = 1000;

type Meet = (connect: (events: LinkEvents) => Link) => void;

/**
 * A survivor listens where a new backup looks for it: on replication.backup, or on
 * replication.primary where that is this host's. An address may be taken for a while,
 * by what is left of the side that died.
 */
export class SurvivorListener {
  readonly #config: ReplicationConfig;
  readonly #file: string;
  readonly #onError: (reason: string) => void;
  #server: Server | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  /** Null: nowhere, yet. */
  where: string | null = null;

  /** @param onError told each new reason why nobody can join */
  constructor(config: ReplicationConfig, file: string, onError: (reason: string) => void) {
    this.#config = config;
    this.#file = file;
    this.#onError = onError;
  }

  listen(meet: Meet): void {
    void this.#try(meet, null);
  }

  async #try(meet: Meet, told: string | null): Promise<void> {
    const { backup, primary } = this.#config;
    let reason = '';
    for (const [key, address] of [
      ['replication.backup', backup],
      ['replication.primary', primary],
    ] as const) {
      if (address === null || this.#closed) continue;
      const server = createServer({ noDelay: true }, (socket) =>
        meet((events) => new Connection(socket, events)),
      );
      try {
        this.where = await listen(server, address, key, this.#file);
        if (this.#closed) server.close();
        else this.#server = server;
        return;
      } catch (error) {
        reason = messageOf(error);
      }
    }
    if (this.#closed) return;
    if (reason !== told) this.#onError(`no backup can join: ${reason}`);
    this.#timer = setTimeout(() => void this.#try(meet, reason), RETRY_MS);
    this.#timer.unref();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#server?.close();
  }
}
