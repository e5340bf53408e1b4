// SPDX-License-Identifier: Apache-2.0
/**
 * An encrypted file of a packed recording. Reader and writer.
 *
 *   header   8 bytes "\x89UDSEAL\n", u32 version, u32 crc32 of these 12 bytes,
 *            16 bytes of salt, 32 bytes: HMAC-SHA256 of these 32 bytes
 *   chunks   65,536 bytes of content each, the last one 1 to 65,536, by AES-256-GCM,
 *            each followed by its tag of 16 bytes
 *
 * Keys are the file's own: HKDF-SHA256 of the secret and the salt, 32 bytes for the chunks and 32
 * for the header, by which another secret is told from damage. A chunk's nonce is its number
 * (u64) and whether it is the last (u8), so that none can be left out, moved, or taken from
 * another file, and no end can be missing: Hoang, Reyhanitabar, Rogaway, Vizár, "Online
 * Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (2015), STREAM.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { UnderstudyError } from '../base/errors.ts';
import { damaged, packVersion } from './format.ts';

const MAGIC = Buffer.from('\x89UDSEAL\n', 'latin1');
const VERSION = 1;
const SALT_BYTES = 16;
const MAC_AT = 16 + SALT_BYTES;
export const SEAL_HEADER_BYTES = MAC_AT + 32;
export const SEAL_CHUNK_BYTES = 1 << 16;
const TAG_BYTES = 16;
const STORED_BYTES = SEAL_CHUNK_BYTES + TAG_BYTES;
const CIPHER = 'aes-256-gcm';

/** Whether a file begins like an encrypted one. */
export function isSealed(beginning: Buffer): boolean {
  return beginning.subarray(0, MAGIC.length).equals(MAGIC);
}

export async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
  }
}

/** Content in order, encrypted, into a file. */
export class SealWriter {
  readonly #handle: FileHandle;
  readonly #key: Buffer;
  #waiting: Buffer = Buffer.alloc(0);
  #count = 0n;
  /** Bytes of the file. */
  bytes = 0;

  private constructor(handle: FileHandle, key: Buffer) {
    this.#handle = handle;
    this.#key = key;
  }

  static async begin(handle: FileHandle, secret: Buffer): Promise<SealWriter> {
    const header = Buffer.alloc(SEAL_HEADER_BYTES);
    MAGIC.copy(header);
    header.writeUInt32LE(VERSION, 8);
    header.writeUInt32LE(crc32(header.subarray(0, 12)), 12);
    randomBytes(SALT_BYTES).copy(header, 16);
    const { chunks, head } = keysOf(secret, header);
    macOf(head, header).copy(header, MAC_AT);
    const writer = new SealWriter(handle, chunks);
    await writer.#put(header);
    return writer;
  }

  async write(content: Buffer): Promise<void> {
    let from = 0;
    // The last chunk is told apart only at the end: a full one waits for what comes after it.
    while (this.#waiting.length + content.length - from > SEAL_CHUNK_BYTES) {
      const to = from + SEAL_CHUNK_BYTES - this.#waiting.length;
      await this.#chunk(Buffer.concat([this.#waiting, content.subarray(from, to)]), false);
      this.#waiting = Buffer.alloc(0);
      from = to;
    }
    this.#waiting = Buffer.concat([this.#waiting, content.subarray(from)]);
  }

  async end(): Promise<void> {
    await this.#chunk(this.#waiting, true);
  }

  async #chunk(content: Buffer, isLast: boolean): Promise<void> {
    const cipher = createCipheriv(CIPHER, this.#key, nonceOf(this.#count, isLast));
    this.#count += 1n;
    await this.#put(Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]));
  }

  async #put(bytes: Buffer): Promise<void> {
    await writeAll(this.#handle, bytes);
    this.bytes += bytes.length;
  }
}

/** Content of an encrypted file, at any place of it. */
export class SealReader {
  /** Bytes of the content. */
  readonly size: number;
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #key: Buffer;
  readonly #count: number;
  readonly #storedBytes: number;
  /** The chunk that was read last. */
  #chunk: Buffer = Buffer.alloc(0);
  #number = -1;

  private constructor(file: string, handle: FileHandle, key: Buffer, storedBytes: number) {
    this.#file = file;
    this.#handle = handle;
    this.#key = key;
    this.#storedBytes = storedBytes;
    this.#count = Math.ceil(storedBytes / STORED_BYTES);
    this.size = storedBytes - this.#count * TAG_BYTES;
  }

  /**
   * @param bytes of the file
   * @throws UnderstudyError pack-key: it is of another one, or there is none; pack-corrupt;
   *   pack-version
   */
  static async open(
    file: string,
    handle: FileHandle,
    bytes: number,
    secret: Buffer | null,
  ): Promise<SealReader> {
    const header = Buffer.alloc(SEAL_HEADER_BYTES);
    if (bytes <= SEAL_HEADER_BYTES + TAG_BYTES) {
      throw damaged(file, 'its header', `it is cut short at byte ${bytes}`);
    }
    await handle.read(header, 0, header.length, 0);
    if (header.readUInt32LE(12) !== crc32(header.subarray(0, 12))) {
      throw damaged(file, 'its header', 'the checksum of the first 12 bytes differs');
    }
    const version = header.readUInt32LE(8);
    if (version !== VERSION) throw packVersion(file, version, VERSION);
    if (secret === null) {
      throw new UnderstudyError('pack-key', `${file} is encrypted: give its key (--decrypt-key)`);
    }
    const { chunks, head } = keysOf(secret, header);
    if (!timingSafeEqual(macOf(head, header), header.subarray(MAC_AT))) {
      throw new UnderstudyError(
        'pack-key',
        `${file} is encrypted with another key than this one, or its header is damaged`,
      );
    }
    const reader = new SealReader(file, handle, chunks, bytes - SEAL_HEADER_BYTES);
    await reader.#open(reader.#count - 1); // its end is the end: all of it is there
    return reader;
  }

  /** @throws UnderstudyError pack-corrupt */
  async read(into: Buffer, at: number): Promise<void> {
    for (let have = 0; have < into.length; ) {
      const number = Math.floor((at + have) / SEAL_CHUNK_BYTES);
      if (number !== this.#number) {
        this.#chunk = await this.#open(number);
        this.#number = number;
      }
      have += this.#chunk.copy(into, have, (at + have) % SEAL_CHUNK_BYTES);
    }
  }

  async #open(number: number): Promise<Buffer> {
    const from = number * STORED_BYTES;
    const stored = Buffer.alloc(Math.min(STORED_BYTES, this.#storedBytes - from));
    const where = `chunk ${number + 1} of ${this.#count}`;
    const { bytesRead } = await this.#handle.read(
      stored,
      0,
      stored.length,
      SEAL_HEADER_BYTES + from,
    );
    if (bytesRead < stored.length) {
      throw damaged(this.#file, where, 'it became shorter meanwhile');
    }
    const isLast = number === this.#count - 1;
    const content = this.#decrypt(stored, number, isLast);
    if (content !== null) return content;
    if (isLast && this.#decrypt(stored, number, false) !== null) {
      throw damaged(this.#file, where, 'it is cut short, its end is missing');
    }
    throw damaged(this.#file, where, 'it is not what was encrypted there');
  }

  #decrypt(stored: Buffer, number: number, isLast: boolean): Buffer | null {
    if (stored.length <= TAG_BYTES) return null;
    const at = stored.length - TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, this.#key, nonceOf(BigInt(number), isLast));
    decipher.setAuthTag(stored.subarray(at));
    const content = decipher.update(stored.subarray(0, at));
    try {
      decipher.final();
      return content;
    } catch {
      return null;
    }
  }
}

function keysOf(secret: Buffer, header: Buffer): { chunks: Buffer; head: Buffer } {
  const salt = header.subarray(16, MAC_AT);
  const keys = Buffer.from(hkdfSync('sha256', secret, salt, `understudy seal ${VERSION}`, 64));
  return { chunks: keys.subarray(0, 32), head: keys.subarray(32) };
}

const macOf = (key: Buffer, header: Buffer): Buffer =>
  createHmac('sha256', key).update(header.subarray(0, MAC_AT)).digest();

function nonceOf(number: bigint, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(number, 0);
  nonce.writeUInt8(isLast ? 1 : 0, 8);
  return nonce;
}
