// SPDX-License-Identifier: Apache-2.0
/** How the two sides of a VM know each other: [replication.tls], or plaintext. */
import { isIP } from 'node:net';
import { UnderstudyError } from '../base/errors.ts';
import type { Address } from './config.ts';

/** Absolute paths of PEM files. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly crl: string | null;
}

export interface LinkTrust {
  /** Null: plaintext. */
  readonly tls: TlsFiles | null;
  /** It was asked for in so many words. */
  readonly insecurePlaintext: boolean;
}

interface RawTrust {
  readonly tls?:
    | {
        readonly ca: string;
        readonly cert: string;
        readonly key: string;
        readonly crl?: string | undefined;
      }
    | undefined;
  readonly insecure_plaintext: boolean;
}

export function linkTrust(raw: RawTrust, absolute: (path: string) => string): LinkTrust {
  const { tls, insecure_plaintext: insecurePlaintext } = raw;
  if (tls === undefined) return { tls: null, insecurePlaintext };
  const { ca, cert, key, crl } = tls;
  return {
    tls: {
      ca: absolute(ca),
      cert: absolute(cert),
      key: absolute(key),
      crl: crl === undefined ? null : absolute(crl),
    },
    insecurePlaintext,
  };
}

/** By its words alone: a name that leads there today may lead elsewhere tomorrow. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost';
}

/**
 * Guest memory, disks and packets go over the link, and whoever is let in has the VM.
 * @param addresses of both sides, by their key
 * @throws UnderstudyError config-value where others could read it, or be let in
 */
export function checkLinkTrust(
  { tls, insecurePlaintext }: LinkTrust,
  addresses: Readonly<Record<string, Address | null>>,
  file: string,
): void {
  if (tls !== null || insecurePlaintext) return;
  for (const [key, address] of Object.entries(addresses)) {
    if (address === null || isLoopback(address.host)) continue;
    throw new UnderstudyError(
      'config-value',
      `${file}: ${key} is ${address.host}, which is not this host alone: whoever reaches that ` +
        "port could read the VM's memory and disks, and become its backup. Give both sides " +
        '[replication.tls] ca, cert and key (`understudy keys` makes them), or say ' +
        'insecure_plaintext = true in [replication]',
    );
  }
}
