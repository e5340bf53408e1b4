// SPDX-License-Identifier: Apache-2.0
/** Where a live VM's daemon waits for its backup. */
import { type Link, Listener, type Security } from '../../native/kvm-exit-log/index.ts';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { Address, ReplicationConfig } from '../vm/config.ts';
import { otherSide } from '../vm/sides.ts';
import { Connection, type LinkEvents } from '../wire/connection.ts';
import type { Trust } from '../wire/trust.ts';

/**
 * @param key of the address, and the file it is in, for messages
 * @param security for each one that comes; null: plaintext
 * @throws UnderstudyError port-in-use | address-unusable
 */
export async function listen(
  { host, port }: Address,
  key: string,
  file: string,
  accepted: (link: Link) => void,
  security: () => Security | null,
): Promise<Listener> {
  try {
    return await Listener.on(host, port, accepted, security);
  } catch (cause) {
    if (errorCodeOf(cause) === 'EADDRINUSE') {
      throw new UnderstudyError(
        'port-in-use',
        `port ${port} on ${host} is in use: end what listens there ` +
          `(\`ss -ltnp 'sport = :${port}'\` names it), or choose another port for ` +
          `${key} in ${file}`,
        { cause },
      );
    }
    throw new UnderstudyError(
      'address-unusable',
      `cannot listen on ${host}:${port} (${messageOf(cause)}): ${key} in ${file} ` +
        'must be an address of this host',
      { cause },
    );
  }
}

const RETRY_MS = 1000;

type Meet = (connect: (events: LinkEvents) => Connection) => void;

/**
 * A survivor listens where a new backup looks for it: on replication.backup, or on
 * replication.primary where that is this host's. An address may be taken for a while,
 * by what is left of the side that died.
 */
export class SurvivorListener {
  readonly #config: ReplicationConfig;
  readonly #file: string;
  readonly #trust: Trust | null;
  readonly #onError: (reason: string) => void;
  #listener: Listener | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  /** Null: nowhere, yet. */
  where: string | null = null;

  /** @param onError told each new reason why nobody can join */
  constructor(
    config: ReplicationConfig,
    file: string,
    trust: Trust | null,
    onError: (reason: string) => void,
  ) {
    this.#config = config;
    this.#file = file;
    this.#trust = trust;
    this.#onError = onError;
  }

  listen(meet: Meet): void {
    void this.#try(meet, null);
  }

  async #try(meet: Meet, told: string | null): Promise<void> {
    const { backup, primary } = this.#config;
    let reason = '';
    for (const [side, address] of [
      ['backup', backup],
      ['primary', primary],
    ] as const) {
      if (address === null || this.#closed) continue;
      try {
        const listener = await listen(
          address,
          `replication.${side}`,
          this.#file,
          (link) => meet((events) => new Connection(link, events)),
          () => this.#trust?.towards(otherSide(side)) ?? null,
        );
        this.where = `${address.host}:${listener.port}`;
        if (this.#closed) listener.close();
        else this.#listener = listener;
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
    this.#listener?.close();
  }
}
