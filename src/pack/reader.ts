// SPDX-License-Identifier: Apache-2.0
/** Frames of a packed file (format.ts), in order; decrypted, if it is encrypted. */
import { createHash, type Hash, type KeyObject } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import {
  checkPackFrame,
  checkPackHeader,
  damaged,
  FRAME_HEADER_BYTES,
  frameBodyBytes,
  HEADER_BYTES,
  type Info,
  infoSchema,
  isSafePath,
  type Member,
  memberSchema,
  PACK_FRAME,
} from './format.ts';
import { isSealed, SealReader } from './seal.ts';
import { type Content, signerOf, verifySignature } from './signature.ts';

export interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

/** A file as it lies there. */
class Plain implements Content {
  readonly size: number;
  readonly #file: string;
  readonly #handle: FileHandle;

  constructor(file: string, handle: FileHandle, size: number) {
    this.#file = file;
    this.#handle = handle;
    this.size = size;
  }

  async read(into: Buffer, at: number): Promise<void> {
    for (let have = 0; have < into.length; ) {
      const { bytesRead } = await this.#handle.read(into, have, into.length - have, at + have);
      if (bytesRead === 0) throw damaged(this.#file, 'its end', 'it became shorter meanwhile');
      have += bytesRead;
    }
  }
}

export interface ReaderOptions {
  /** Who has to have signed it; absent: nobody has to. */
  readonly verifyKey?: KeyObject;
  /** What it was encrypted with. */
  readonly secret?: Buffer;
  /** Bytes of the packed file read so far, of how many. */
  readonly onProgress: (done: number, total: number) => void;
}

export class PackReader {
  readonly file: string;
  /** The length of the file. */
  readonly bytes: number;
  readonly isEncrypted: boolean;
  readonly #handle: FileHandle;
  readonly #content: Content;
  readonly #onProgress: ReaderOptions['onProgress'];
  #isSigned = false;
  /** What was verified to be signed; null: nobody asked. */
  #verified: Buffer | null = null;
  #signer: string | null = null;
  /** Hash of every byte before the frame that is being read. */
  readonly #hash: Hash = createHash('sha256');
  #at = 0;

  private constructor(
    file: string,
    bytes: number,
    handle: FileHandle,
    content: Content,
    onProgress: ReaderOptions['onProgress'],
  ) {
    this.file = file;
    this.bytes = bytes;
    this.isEncrypted = !(content instanceof Plain);
    this.#handle = handle;
    this.#content = content;
    this.#onProgress = onProgress;
  }

  /** @throws UnderstudyError file-io; pack-key, pack-signature, pack-corrupt, pack-version */
  static async open(
    file: string,
    { verifyKey, secret, onProgress }: ReaderOptions,
    aborted: AbortSignal,
  ): Promise<PackReader> {
    const { handle, bytes } = await openFile(file);
    try {
      const plain = new Plain(file, handle, bytes);
      const beginning = Buffer.alloc(Math.min(HEADER_BYTES, bytes));
      await plain.read(beginning, 0);
      const content = isSealed(beginning)
        ? await SealReader.open(file, handle, bytes, secret ?? null)
        : plain;
      const reader = new PackReader(file, bytes, handle, content, onProgress);
      if (verifyKey !== undefined) {
        reader.#verified = await verifySignature(file, content, verifyKey, aborted);
      }
      return reader;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Who says to have signed it; null: nobody. Known at its end. */
  get signer(): string | null {
    return this.#signer;
  }

  get isVerified(): boolean {
    return this.#verified !== null;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** The header and INFO. */
  async info(): Promise<Info> {
    const header = await this.#read(Math.min(HEADER_BYTES, this.#content.size), 'its header');
    this.#isSigned = checkPackHeader(this.file, header);
    this.#hash.update(header);
    const info = await this.#json(PACK_FRAME.INFO, 'its beginning', infoSchema);
    return info;
  }

  async member(): Promise<Member> {
    const member = await this.#json(PACK_FRAME.MEMBER, 'the begin of a member', memberSchema);
    if (!isSafePath(member.path)) {
      const path = JSON.stringify(member.path);
      throw damaged(this.file, `member ${path}`, 'its path would leave the folder');
    }
    return member;
  }

  /** SIGNATURE, if it is signed; END, and nothing after it. */
  async end(): Promise<void> {
    if (this.#isSigned || this.#verified !== null) await this.#signature();
    const sum = this.#hash.copy().digest();
    const { type, body } = await this.frame('its end');
    if (type !== PACK_FRAME.END) throw damaged(this.file, 'its end', `a frame of type ${type}`);
    if (!body.equals(sum)) throw damaged(this.file, 'its end', 'the checksum of all of it differs');
    const behind = this.#content.size - this.#at;
    if (behind !== 0) throw damaged(this.file, 'its end', `${behind} bytes are behind it`);
  }

  /** What was verified at first has to be what was read since. */
  async #signature(): Promise<void> {
    const where = 'its signature';
    const sum = this.#hash.copy().digest();
    const { type, body } = await this.frame(where);
    if (type !== PACK_FRAME.SIGNATURE) throw damaged(this.file, where, `a frame of type ${type}`);
    this.#signer = signerOf(this.file, body);
    if (this.#verified === null || this.#verified.equals(sum)) return;
    throw damaged(this.file, where, 'it was changed while it was unpacked');
  }

  async frame(where: string): Promise<Frame> {
    const header = await this.#read(FRAME_HEADER_BYTES, where);
    const body = await this.#read(frameBodyBytes(this.file, where, header), where);
    const type = checkPackFrame(this.file, where, header, body);
    this.#hash.update(header).update(body);
    this.#onProgress(this.#at, this.#content.size);
    return { type, body };
  }

  async #json<T>(wanted: number, where: string, schema: { parse(value: unknown): T }): Promise<T> {
    const { type, body } = await this.frame(where);
    if (type !== wanted) throw damaged(this.file, where, `found a frame of type ${type}`);
    try {
      return schema.parse(JSON.parse(body.toString('utf8')));
    } catch {
      throw damaged(this.file, where, 'it cannot be read');
    }
  }

  async #read(bytes: number, where: string): Promise<Buffer> {
    const left = this.#content.size - this.#at;
    if (bytes > left) throw damaged(this.file, where, `it is cut short at byte ${this.bytes}`);
    const buffer = Buffer.alloc(bytes);
    await this.#content.read(buffer, this.#at);
    this.#at += bytes;
    return buffer;
  }
}

async function openFile(file: string): Promise<{ handle: FileHandle; bytes: number }> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, 'r');
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error('it is not a regular file');
    return { handle, bytes: stats.size };
  } catch (cause) {
    await handle?.close();
    throw new UnderstudyError('file-io', `cannot read ${file}: ${messageOf(cause)}`, { cause });
  }
}
