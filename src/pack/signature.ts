// SPDX-License-Identifier: Apache-2.0
/** Who signed a packed recording (format.ts): the frame SIGNATURE, written and checked. */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { UnderstudyError } from '../base/errors.ts';
import {
  checkPackFrame,
  checkPackHeader,
  damaged,
  FRAME_HEADER_BYTES,
  HEADER_BYTES,
  PACK_FRAME,
} from './format.ts';
import { fingerprint, keyIdOf } from './keys.ts';

const SIGNED = Buffer.from('understudy pack 2\n');
const ID_BYTES = 32;
const SIGNATURE_BYTES = ID_BYTES + 64;
const END_BYTES = 32;
/** From the frame to the end of the file. */
const TAIL_BYTES = FRAME_HEADER_BYTES + SIGNATURE_BYTES + FRAME_HEADER_BYTES + END_BYTES;
const READ_BYTES = 1 << 20;
const WHERE = 'its signature';

/** The content of a packed file, decrypted if it is encrypted. */
export interface Content {
  readonly size: number;
  /** Fills `into` with what is there. @throws UnderstudyError pack-corrupt */
  read(into: Buffer, at: number): Promise<void>;
}

/** The body of SIGNATURE. @param sum sha256 of every byte before the frame */
export function signatureOf(key: KeyObject, sum: Buffer): Buffer {
  return Buffer.concat([keyIdOf(key), sign(null, Buffer.concat([SIGNED, sum]), key)]);
}

/** The signer, as its frame says. @throws UnderstudyError pack-corrupt */
export function signerOf(file: string, body: Buffer): string {
  if (body.length !== SIGNATURE_BYTES) throw damaged(file, WHERE, 'its length is another');
  return fingerprint(body.subarray(0, ID_BYTES));
}

/**
 * Before anything else of the file is believed.
 * @returns the sha256 that was signed; who reads the file has to come to the same
 * @throws UnderstudyError pack-signature; pack-corrupt, pack-version
 */
export async function verifySignature(
  file: string,
  content: Content,
  key: KeyObject,
  aborted: AbortSignal,
): Promise<Buffer> {
  const header = Buffer.alloc(Math.min(HEADER_BYTES, content.size));
  await content.read(header, 0);
  if (!checkPackHeader(file, header)) throw wrong(file, 'is not signed');
  const at = content.size - TAIL_BYTES;
  if (at < HEADER_BYTES) throw damaged(file, WHERE, 'it is cut short');
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + SIGNATURE_BYTES);
  await content.read(frame, at);
  const body = frame.subarray(FRAME_HEADER_BYTES);
  const type = checkPackFrame(file, WHERE, frame.subarray(0, FRAME_HEADER_BYTES), body);
  if (type !== PACK_FRAME.SIGNATURE) throw damaged(file, WHERE, `a frame of type ${type}`);
  const [signer, wanted] = [signerOf(file, body), fingerprint(keyIdOf(key))];
  if (signer !== wanted) throw wrong(file, `is signed with key ${signer}, and not with ${wanted}`);
  const sum = await hashOf(content, at, aborted);
  const signature = body.subarray(ID_BYTES);
  if (verify(null, Buffer.concat([SIGNED, sum]), key, signature)) return sum;
  throw wrong(file, `is not what ${signer} signed: it was changed since`);
}

async function hashOf(content: Content, bytes: number, aborted: AbortSignal): Promise<Buffer> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(READ_BYTES);
  for (let at = 0; at < bytes; at += READ_BYTES) {
    aborted.throwIfAborted();
    const part = buffer.subarray(0, Math.min(READ_BYTES, bytes - at));
    await content.read(part, at);
    hash.update(part);
  }
  return hash.digest();
}

function wrong(file: string, what: string): UnderstudyError {
  return new UnderstudyError('pack-signature', `${file} ${what}: nothing of it was unpacked`);
}
