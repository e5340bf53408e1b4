// SPDX-License-Identifier: Apache-2.0
/**
 * Whom a side lets in: [replication.tls] of VM.toml. A certificate names the VM and the side of
 * it that its host is, as an address does in [replication]; who listens there has to show that
 * name, and who connects the other side's.
 *
 * Files are looked at before each connection, so keys that were exchanged are used by the next
 * one. While they cannot be used, the ones before are.
 */
import { readFileSync, statSync } from 'node:fs';
import { Keys, type Security } from '../../native/kvm-exit-log/index.ts';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import type { TlsFiles } from '../vm/link-trust.ts';
import { type Holder, SIDES, sideName } from '../vm/sides.ts';

export interface TrustOptions {
  readonly files: TlsFiles;
  readonly vm: string;
  /** Which this side has to be; null: either. */
  readonly side: Holder | null;
  /** Told once of each reason why new files are not used. */
  readonly onError: (reason: string) => void;
}

export class Trust {
  readonly #o: TrustOptions;
  #keys: Keys;
  #seen: string;
  #toldOf = '';

  /** @throws UnderstudyError keys-unusable: nobody would let us in with these */
  constructor(options: TrustOptions) {
    this.#o = options;
    this.#seen = marksOf(options.files);
    this.#keys = usable(options);
  }

  /** When our certificate expires. */
  get endsMs(): number {
    return this.#keys.endsMs;
  }

  /** For one connection, to the side of this VM that the peer has to be. */
  towards(peer: Holder): Security {
    this.#renew();
    return { keys: this.#keys, peerName: sideName(this.#o.vm, peer) };
  }

  #renew(): void {
    const { files, onError } = this.#o;
    const marks = marksOf(files);
    if (marks === this.#seen) return;
    try {
      this.#keys = usable(this.#o);
      this.#seen = marks;
      this.#toldOf = '';
    } catch (error) {
      // Two files are never exchanged at one moment: the next connection looks again.
      if (marks !== this.#toldOf) onError(`the keys before are used: ${messageOf(error)}`);
      this.#toldOf = marks;
    }
  }
}

/** Other ones once a file has changed. */
function marksOf({ ca, cert, key, crl }: TlsFiles): string {
  const markOf = (path: string | null): string => {
    if (path === null) return '-';
    try {
      const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    } catch (error) {
      // Whatever has become of the files, the VM goes on: with the keys before.
      return errorCodeOf(error) ?? messageOf(error);
    }
  };
  return [ca, cert, key, crl].map(markOf).join();
}

function usable({ files, vm, side }: TrustOptions): Keys {
  const bad = (why: string, cause?: unknown): UnderstudyError =>
    new UnderstudyError('keys-unusable', `replication.tls: ${why}`, { cause });
  const read = (key: string, path: string): string => {
    try {
      if (key === 'key' && (statSync(path).mode & 0o007) !== 0) {
        throw new Error(`others may use it: \`chmod 600 ${path}\`, or better make another one`);
      }
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw bad(`${key} ${path}: ${messageOf(cause)}`, cause);
    }
  };
  const texts = {
    ca: read('ca', files.ca),
    cert: read('cert', files.cert),
    key: read('key', files.key),
    crl: files.crl === null ? null : read('crl', files.crl),
  };
  let keys: Keys;
  try {
    keys = new Keys(texts);
  } catch (cause) {
    throw bad(`${messageOf(cause)} (cert ${files.cert})`, cause);
  }
  const { fault, names } = keys;
  if (fault !== null) throw bad(`our own certificate ${files.cert} ${fault}`);
  const wanted = (side === null ? SIDES : [side]).map((one) => sideName(vm, one));
  if (!wanted.some((name) => names.includes(name))) {
    throw bad(
      `our own certificate ${files.cert} is of ${names.join(', ') || 'no VM'}, ` +
        `and not of ${wanted.join(' or ')}`,
    );
  }
  return keys;
}
