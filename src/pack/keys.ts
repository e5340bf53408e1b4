// SPDX-License-Identifier: Apache-2.0
/**
 * Keys for packed recordings, as files: an Ed25519 pair in PEM (PKCS #8 and SPKI, as `openssl
 * genpkey -algorithm ed25519` makes it), and a secret of 32 bytes in the same armour.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { makePrivateDirs } from '../base/paths.ts';

export const SECRET_BYTES = 32;
const ARMOUR = 'UNDERSTUDY PACK SECRET';

/** What `makePackKeys` makes. */
export const PACK_KEY_FILES = {
  sign: 'pack-sign.pem',
  verify: 'pack-verify.pem',
  secret: 'pack-secret.pem',
} as const;

/**
 * Makes all three in a folder, of which only `verify` is for others.
 * @returns their paths
 * @throws UnderstudyError output-exists: one is there; log-write, disk-full
 */
export function makePackKeys(dir: string): Record<keyof typeof PACK_KEY_FILES, string> {
  const { sign, verify, secret } = PACK_KEY_FILES;
  const paths = { sign: join(dir, sign), verify: join(dir, verify), secret: join(dir, secret) };
  const there = Object.values(paths).find((path) => existsSync(path));
  if (there !== undefined) {
    throw new UnderstudyError(
      'output-exists',
      `${there} exists: what was packed with it could not be opened with another one. ` +
        '--dir names another folder',
    );
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const text = randomBytes(SECRET_BYTES).toString('base64');
  try {
    makePrivateDirs(dir);
    const write = (path: string, content: string | Buffer): void =>
      writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    write(paths.sign, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    write(paths.verify, publicKey.export({ type: 'spki', format: 'pem' }));
    write(paths.secret, `-----BEGIN ${ARMOUR}-----\n${text}\n-----END ${ARMOUR}-----\n`);
  } catch (cause) {
    throw writeError(dir, cause);
  }
  return paths;
}

/** @throws UnderstudyError keys-unusable */
export function signingKey(path: string): KeyObject {
  return ed25519(path, () => createPrivateKey(readPrivate(path)));
}

/** @param path a public key, or a private one, of which the public one is taken */
export function verifyingKey(path: string): KeyObject {
  return ed25519(path, () => createPublicKey(read(path).text));
}

/** @throws UnderstudyError keys-unusable */
export function secretKey(path: string): Buffer {
  const form = new RegExp(
    `^-----BEGIN ${ARMOUR}-----\\s+([A-Za-z0-9+/=]+)\\s+-----END ${ARMOUR}-----\\s*$`,
  );
  const key = Buffer.from(form.exec(readPrivate(path))?.[1] ?? '', 'base64');
  if (key.length === SECRET_BYTES) return key;
  throw unusable(path, 'it is no secret for packed recordings: `understudy keys pack` makes one');
}

/** Names a public key, as `ssh-keygen -l` does. */
export function fingerprint(keyId: Buffer): string {
  return `SHA256:${keyId.toString('base64').replace(/=+$/, '')}`;
}

/** The sha256 of the public key, as SPKI has it. */
export function keyIdOf(key: KeyObject): Buffer {
  const ours = key.type === 'private' ? createPublicKey(key) : key;
  return createHash('sha256')
    .update(ours.export({ type: 'spki', format: 'der' }))
    .digest();
}

function ed25519(path: string, parse: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    if (cause instanceof UnderstudyError) throw cause;
    throw unusable(path, `it is no key in PEM (${messageOf(cause)})`);
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw unusable(path, `it is a key of ${key.asymmetricKeyType}: Ed25519 is what signs here`);
}

function readPrivate(path: string): string {
  const { text, mode } = read(path);
  if ((mode & 0o077) === 0) return text;
  throw unusable(path, `others may read it: \`chmod 600 ${path}\``);
}

function read(path: string): { text: string; mode: number } {
  try {
    return { text: readFileSync(path, 'utf8'), mode: statSync(path).mode };
  } catch (cause) {
    throw unusable(path, messageOf(cause));
  }
}

function unusable(path: string, why: string): UnderstudyError {
  return new UnderstudyError('keys-unusable', `${path} cannot be used: ${why}`);
}
