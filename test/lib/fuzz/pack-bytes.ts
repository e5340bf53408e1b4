// SPDX-License-Identifier: Apache-2.0
/**
 * Packed recordings by hand, for the fuzzer: with the checksums, signatures and encryption that
 * fit whatever their frames are, and always the same for the same frames. From the descriptions in
 * src/pack/format.ts and seal.ts alone.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { brotliCompressSync, brotliDecompressSync, crc32 } from 'node:zlib';

export const SECRET = Buffer.alloc(32, 7);
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SIGN_KEY = createPrivateKey({
  key: Buffer.concat([PKCS8_ED25519, Buffer.alloc(32, 3)]),
  format: 'der',
  type: 'pkcs8',
});
export const VERIFY_KEY: KeyObject = createPublicKey(SIGN_KEY);
const KEY_ID = sha256(VERIFY_KEY.export({ type: 'spki', format: 'der' }));

/** Types of frames, and those that there are not: 0, 7. */
export const FRAME = { info: 1, member: 2, data: 3, hash: 4, end: 5, signature: 6, most: 7 };
export type Body = readonly [type: number, body: Buffer];

const HEADER_BYTES = 16;
const FRAME_HEADER_BYTES = 12;
const DATA_HEADER_BYTES = 12;

function sha256(...parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function withMagic(magic: string, version: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(magic, 'latin1');
  header.writeUInt32LE(version, 8);
  header.writeUInt32LE(crc32(header.subarray(0, 12)), 12);
  return header;
}

function frame([type, body]: Body): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt32LE(crc32(body, crc32(header.subarray(0, 8))), 8);
  return Buffer.concat([header, body]);
}

export const isSignedPack = (pack: Buffer): boolean => pack.length > 8 && pack[8] === 2;

export function packOf(isSigned: boolean, bodies: readonly Body[]): Buffer {
  return Buffer.concat([withMagic('\x89UDPACK\n', isSigned ? 2 : 1), ...bodies.map(frame)]);
}

export function bodiesOf(pack: Buffer): Body[] {
  const bodies: Body[] = [];
  for (let at = HEADER_BYTES; at + FRAME_HEADER_BYTES <= pack.length; ) {
    const bytes = pack.readUInt32LE(at + 4);
    bodies.push([
      pack[at] ?? 0,
      pack.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + bytes),
    ]);
    at += FRAME_HEADER_BYTES + bytes;
  }
  return bodies;
}

/** With the signature, and the end, that fit what is before them. */
export function endedPack(isSigned: boolean, bodies: readonly Body[]): Buffer {
  const before = bodies.filter(([type]) => type !== FRAME.end && type !== FRAME.signature);
  let pack = packOf(isSigned, before);
  if (isSigned) {
    const signed = Buffer.concat([Buffer.from('understudy pack 2\n'), sha256(pack)]);
    const signature = Buffer.concat([KEY_ID, sign(null, signed, SIGN_KEY)]);
    pack = Buffer.concat([pack, frame([FRAME.signature, signature])]);
  }
  return Buffer.concat([pack, frame([FRAME.end, sha256(pack)])]);
}

/** Whether its last but one frame is a signature of VERIFY_KEY's over all before it. */
export function isSignedByKey(pack: Buffer): boolean {
  const at = pack.length - (FRAME_HEADER_BYTES + 96 + FRAME_HEADER_BYTES + 32);
  if (at < HEADER_BYTES || pack[at] !== FRAME.signature) return false;
  const signed = Buffer.concat([Buffer.from('understudy pack 2\n'), sha256(pack.subarray(0, at))]);
  const from = at + FRAME_HEADER_BYTES + KEY_ID.length;
  return verify(null, signed, VERIFY_KEY, pack.subarray(from, from + 64));
}

export function dataBody(content: Buffer, offset = 0): Buffer {
  const header = Buffer.alloc(DATA_HEADER_BYTES);
  header.writeBigUInt64LE(BigInt(offset), 0);
  header.writeUInt32LE(content.length, 8);
  return Buffer.concat([header, brotliCompressSync(content)]);
}

/** What is in a DATA; null: it cannot be decompressed, or is too much for a fuzzer. */
export function contentOf(body: Buffer): Buffer | null {
  try {
    return brotliDecompressSync(body.subarray(DATA_HEADER_BYTES), { maxOutputLength: 1 << 17 });
  } catch {
    return null;
  }
}

/** The same, but each HASH is of the DATA before it. */
export function hashed(bodies: readonly Body[]): Body[] {
  let parts: Buffer[] = [];
  return bodies.map(([type, body]) => {
    if (type === FRAME.member) {
      const size = Buffer.alloc(8);
      try {
        size.writeBigUInt64LE(BigInt(JSON.parse(body.toString('utf8')).bytes));
      } catch {
        // Its size is no size: to be refused for that.
      }
      parts = [size];
    } else if (type === FRAME.data) {
      parts.push(body.subarray(0, DATA_HEADER_BYTES), contentOf(body) ?? Buffer.alloc(0));
    } else if (type === FRAME.hash) {
      return [type, sha256(...parts)];
    }
    return [type, body];
  });
}

const SEAL_HEADER_BYTES = 64;
const SEAL_CHUNK_BYTES = 1 << 16;
const TAG_BYTES = 16;
const STORED_BYTES = SEAL_CHUNK_BYTES + TAG_BYTES;

export const isSealedPack = (file: Buffer): boolean =>
  file.subarray(0, 8).equals(Buffer.from('\x89UDSEAL\n', 'latin1'));

function sealKeys(salt: Buffer): { chunks: Buffer; head: Buffer } {
  const both = Buffer.from(hkdfSync('sha256', SECRET, salt, 'understudy seal 1', 64));
  return { chunks: both.subarray(0, 32), head: both.subarray(32) };
}

function nonce(number: number, isLast: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeBigUInt64LE(BigInt(number));
  bytes.writeUInt8(isLast ? 1 : 0, 8);
  return bytes;
}

export function sealPack(content: Buffer, salt: Buffer = Buffer.alloc(16, 5)): Buffer {
  const { chunks, head } = sealKeys(salt);
  const header = Buffer.concat([withMagic('\x89UDSEAL\n', 1), salt]);
  const parts = [header, createHmac('sha256', head).update(header).digest()];
  const count = Math.max(1, Math.ceil(content.length / SEAL_CHUNK_BYTES));
  for (let number = 0; number < count; number++) {
    const from = number * SEAL_CHUNK_BYTES;
    const cipher = createCipheriv('aes-256-gcm', chunks, nonce(number, number === count - 1));
    const part = content.subarray(from, from + SEAL_CHUNK_BYTES);
    parts.push(cipher.update(part), cipher.final(), cipher.getAuthTag());
  }
  return Buffer.concat(parts);
}

export const saltOf = (file: Buffer): Buffer => file.subarray(16, 32);

/** As they are stored, with their tags. */
export function sealedChunks(file: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = SEAL_HEADER_BYTES; at < file.length; at += STORED_BYTES) {
    chunks.push(file.subarray(at, at + STORED_BYTES));
  }
  return chunks;
}

export const sealHeader = (file: Buffer): Buffer => file.subarray(0, SEAL_HEADER_BYTES);

/** What is in it, whether it is authentic or not. */
export function unsealPack(file: Buffer): Buffer {
  const { chunks } = sealKeys(saltOf(file));
  const stored = sealedChunks(file);
  return Buffer.concat(
    stored.map((chunk, number) => {
      const last = number === stored.length - 1;
      const decipher = createDecipheriv('aes-256-gcm', chunks, nonce(number, last));
      return decipher.update(chunk.subarray(0, Math.max(0, chunk.length - TAG_BYTES)));
    }),
  );
}
