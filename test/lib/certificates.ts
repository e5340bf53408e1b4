// SPDX-License-Identifier: Apache-2.0
/** A certificate authority of a test's own, by the openssl command. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  /** PEM files. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export class TestAuthority {
  readonly #dir: string;
  readonly ca: string;

  constructor(dir: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#dir = dir;
    this.ca = join(dir, 'ca.pem');
    const words = ['req', '-x509', '-nodes', '-subj', '/CN=test authority', '-days', '2'];
    openssl([...words, ...NEW_KEY, '-keyout', join(dir, 'ca.key'), '-out', this.ca]);
  }

  /** For whoever listens on the loopback device, or at these addresses, and for clients. */
  issue(
    name: string,
    subject = `/O=${name}`,
    addresses: readonly string[] = ['127.0.0.1'],
  ): Certificate {
    const path = (end: string): string => join(this.#dir, `${name}.${end}`);
    const words = ['req', '-nodes', '-subj', subject, ...NEW_KEY];
    openssl([...words, '-keyout', path('key'), '-out', path('csr')]);
    const names = ['DNS:localhost', ...addresses.map((address) => `IP:${address}`)].join(',');
    const extensions = `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`;
    writeFileSync(path('ext'), extensions);
    openssl([
      ...['x509', '-req', '-in', path('csr'), '-CA', this.ca, '-CAkey', join(this.#dir, 'ca.key')],
      ...['-CAcreateserial', '-days', '2', '-extfile', path('ext'), '-out', path('pem')],
    ]);
    return { ca: this.ca, cert: path('pem'), key: path('key') };
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

function openssl(words: readonly string[]): void {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}
