// SPDX-License-Identifier: Apache-2.0
/**
 * A small CA: a folder with its key, what it has signed, and for each side of a VM a folder
 * that is copied to that side's host.
 *
 *     ca.key ca.pem crl.pem       the CA, and what it has taken back
 *     index.txt crlnumber issued/ openssl's own list
 *     VM-SIDE/                    ca.pem cert.pem key.pem crl.pem
 */
import { X509Certificate } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import { makePrivateDirs } from '../base/paths.ts';
import { HOLDERS, type Holder, sideName } from '../vm/sides.ts';
import { openssl } from './openssl.ts';

const DAY_MS = 86_400_000;
export const CA_DAYS = 3650;
export const DAYS_DEFAULT = 825;

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'] as const;
/** `openssl ca` reads its paths from there. */
const CONFIG = 'openssl.cnf';

const CONFIG_TEXT = `[ca]
default_ca = understudy
[understudy]
database = index.txt
new_certs_dir = issued
certificate = ca.pem
private_key = ca.key
crlnumber = crlnumber
rand_serial = yes
unique_subject = no
default_md = sha256
default_crl_days = ${CA_DAYS}
policy = names
[names]
commonName = supplied
organizationalUnitName = optional
[req]
distinguished_name = nobody
[nobody]
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
`;

/** Who leads is the server of TLS: a host can be that and its client. */
const peerText = (name: string): string => `[peer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = URI:${name}
`;

export interface Issued {
  readonly name: string;
  readonly serial: string;
  /** ISO 8601. */
  readonly endsAt: string;
  readonly state: 'valid' | 'expired' | 'revoked';
  /** The side's folder, if this is the certificate in it. */
  readonly folder: string | null;
}

export interface AuthorityFacts {
  readonly dir: string;
  readonly subject: string;
  readonly fingerprint: string;
  readonly endsAt: string;
  readonly issued: readonly Issued[];
}

export class Authority {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = resolve(dir); // openssl runs in it
  }

  /** @throws UnderstudyError output-exists, host-unsupported, failure */
  static init(dir: string): Authority {
    if (existsSync(join(dir, 'ca.pem')) || existsSync(join(dir, 'ca.key'))) {
      throw new UnderstudyError(
        'output-exists',
        `${dir} has a CA already: what it has signed would be worth nothing. ` +
          '`understudy keys show` lists it; --dir names another folder',
      );
    }
    makePrivateDirs(join(dir, 'issued'));
    const it = new Authority(dir);
    it.#write(CONFIG, CONFIG_TEXT);
    it.#write('index.txt', '');
    it.#write('crlnumber', '01\n');
    openssl(dir, [
      ...['req', '-x509', ...CURVE, '-config', CONFIG, '-extensions', 'authority'],
      ...['-subj', `/CN=Understudy CA of ${hostname().slice(0, 40)}`, '-days', String(CA_DAYS)],
      ...['-keyout', 'ca.key', '-out', 'ca.pem'],
    ]);
    it.#makeCrl();
    return it;
  }

  /** @throws UnderstudyError keys-unusable: there is none */
  static open(dir: string): Authority {
    if (existsSync(join(dir, 'ca.key')) && existsSync(join(dir, CONFIG))) return new Authority(dir);
    throw new UnderstudyError(
      'keys-unusable',
      `${dir} has no CA: \`understudy keys init\` makes one, --dir names another folder`,
    );
  }

  /**
   * A new key and certificate for a side of a VM, in place of those before.
   * @returns the folder for its host
   */
  issue(vm: string, side: Holder, days = DAYS_DEFAULT): string {
    const folder = this.folderOf(vm, side);
    makePrivateDirs(folder);
    const work = mkdtempSync(join(this.dir, '.issue-'));
    const at = (file: string): string => join(work, file);
    try {
      writeFileSync(at('peer.cnf'), peerText(sideName(vm, side)));
      openssl(this.dir, [
        ...['req', '-new', ...CURVE, '-config', CONFIG, '-subj', `/CN=${vm}/OU=${side}`],
        ...['-keyout', at('key.pem'), '-out', at('request.pem')],
      ]);
      openssl(this.dir, [
        ...['ca', '-batch', '-notext', '-config', CONFIG, '-enddate', endDate(days)],
        ...['-extfile', at('peer.cnf'), '-extensions', 'peer'],
        ...['-in', at('request.pem'), '-out', at('cert.pem')],
      ]);
      for (const file of ['key.pem', 'cert.pem']) renameSync(at(file), join(folder, file));
    } finally {
      rmSync(work, { recursive: true });
    }
    for (const file of ['ca.pem', 'crl.pem']) this.#copyTo(folder, file);
    return folder;
  }

  /**
   * From then on nobody who has the new crl.pem lets that one in.
   * @param serial as `facts` has it
   * @returns its name
   */
  revoke(serial: string): string {
    const one = this.facts().issued.find((it) => it.serial === serial.toUpperCase());
    if (one === undefined) {
      throw new UnderstudyError(
        'usage',
        `no certificate with the serial number ${serial} was issued here: ` +
          '`understudy keys show` lists them',
      );
    }
    if (one.state !== 'revoked') {
      openssl(this.dir, [
        ...['ca', '-config', CONFIG, '-revoke', join('issued', `${one.serial}.pem`)],
      ]);
    }
    this.#makeCrl();
    return one.name;
  }

  facts(): AuthorityFacts {
    const ca = new X509Certificate(readFileSync(join(this.dir, 'ca.pem')));
    const inFolders = new Map<string, string>();
    for (const folder of this.#folders()) {
      inFolders.set(certificateIn(join(folder, 'cert.pem')).serialNumber, folder);
    }
    const index = readFileSync(join(this.dir, 'index.txt'), 'utf8').split('\n').filter(Boolean);
    const issued = index.map((line): Issued => {
      const [state = '', , , serial = ''] = line.split('\t');
      const certificate = certificateIn(join(this.dir, 'issued', `${serial}.pem`));
      const isOver = Date.parse(certificate.validTo) < Date.now();
      return {
        name: (certificate.subjectAltName ?? '').replace(/^URI:/, ''),
        serial,
        endsAt: new Date(certificate.validTo).toISOString(),
        state: state === 'R' ? 'revoked' : isOver ? 'expired' : 'valid',
        folder: inFolders.get(certificate.serialNumber) ?? null,
      };
    });
    return {
      dir: this.dir,
      subject: ca.subject,
      fingerprint: ca.fingerprint256,
      endsAt: new Date(ca.validTo).toISOString(),
      issued,
    };
  }

  folderOf(vm: string, side: Holder): string {
    return join(this.dir, `${vm}-${side}`);
  }

  #folders(): string[] {
    return readdirSync(this.dir)
      .filter((name) => HOLDERS.some((one) => name.endsWith(`-${one}`)))
      .map((name) => join(this.dir, name))
      .filter((folder) => existsSync(join(folder, 'cert.pem')));
  }

  #makeCrl(): void {
    openssl(this.dir, ['ca', '-gencrl', '-config', CONFIG, '-out', 'crl.new']);
    renameSync(join(this.dir, 'crl.new'), join(this.dir, 'crl.pem'));
    for (const folder of this.#folders()) this.#copyTo(folder, 'crl.pem');
  }

  /** Never half a file: a daemon may read it meanwhile. */
  #copyTo(folder: string, file: string): void {
    copyFileSync(join(this.dir, file), join(folder, `${file}.new`));
    renameSync(join(folder, `${file}.new`), join(folder, file));
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.dir, file), text, { mode: 0o600, flag: 'wx' });
  }
}

/** As ASN.1 writes it. */
function endDate(days: number): string {
  // Later than its beginning, also with no days at all.
  const end = new Date(Date.now() + days * DAY_MS + 1000);
  return `${end.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
}

const certificateIn = (path: string): X509Certificate => new X509Certificate(readFileSync(path));

/** Lines of VM.toml for a side's folder. */
export function tlsLines(folder: string): string[] {
  const path = (file: string): string => JSON.stringify(join(folder, file));
  return [
    '[replication.tls]',
    `ca = ${path('ca.pem')}`,
    `cert = ${path('cert.pem')}`,
    `key = ${path('key.pem')}`,
    `crl = ${path('crl.pem')}`,
  ];
}
