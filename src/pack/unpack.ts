// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a recording of a packed one (format.ts), in constant memory.
 *
 * Promise: the folder appears, by a rename, when every byte has been verified, or
 * not at all. The file is a stranger's: nothing in it is believed before it is
 * checked, and nothing is written outside the folder.
 */
import { createHash, type Hash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { errorCodeOf, messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { writeSparse } from '../base/sparse.ts';
import { openRecording } from '../recording/folder.ts';
import {
  CHUNK_BYTES,
  checkPackFrame,
  checkPackHeader,
  DATA_HEADER_BYTES,
  damaged,
  FRAME_HEADER_BYTES,
  frameBodyBytes,
  HEADER_BYTES,
  type Info,
  infoSchema,
  isSafePath,
  type Member,
  memberHash,
  memberSchema,
  PACK_FRAME,
} from './format.ts';

export interface UnpackOptions {
  readonly file: string;
  /** Must not exist; appears whole or not at all. */
  readonly out: string;
  /** Bytes of the packed file read so far, of how many. */
  readonly onProgress: (done: number, total: number) => void;
}

export interface UnpackResult {
  readonly dir: string;
  readonly members: number;
  /** Sizes of the members, holes included. */
  readonly bytes: number;
  readonly packedBytes: number;
}

const decompress = promisify(brotliDecompress);
/** Room that the file system needs for directories and the like. */
const SPARE_BYTES = 1 << 20;

/**
 * Unpacks and verifies.
 * @throws UnderstudyError pack-corrupt | pack-version | output-exists | disk-full | file-io
 */
export async function unpack(options: UnpackOptions, aborted: AbortSignal): Promise<UnpackResult> {
  const out = resolve(options.out);
  checkTarget(out);
  const source = await PackReader.open(resolve(options.file), options.onProgress);
  const partial = join(dirname(out), `.${basename(out)}.partial-${process.pid}`);
  try {
    const info = await source.info();
    checkSpace(dirname(out), info);
    try {
      mkdirSync(partial);
    } catch (cause) {
      throw writeError(partial, cause);
    }
    let bytes = 0;
    for (let count = 0; count < info.members; count += 1) {
      bytes += await unpackMember(source, partial, aborted);
    }
    await source.end();
    checkIsRecording(source.file, partial);
    checkTarget(out);
    try {
      renameSync(partial, out);
    } catch (cause) {
      throw writeError(out, cause);
    }
    return { dir: out, members: info.members, bytes, packedBytes: source.size };
  } finally {
    await source.close();
    rmSync(partial, { recursive: true, force: true });
  }
}

function checkTarget(out: string): void {
  if (existsSync(out)) {
    throw new UnderstudyError(
      'output-exists',
      `${out} exists: nothing is overwritten; give another --out, or remove it`,
    );
  }
  if (!existsSync(dirname(out))) {
    throw new UnderstudyError('file-io', `${dirname(out)} is not there: make it first`);
  }
}

function checkSpace(folder: string, info: Info): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= info.disk_bytes + SPARE_BYTES) return;
  throw new UnderstudyError(
    'disk-full',
    `${folder} has ${formatBytes(free)} free, the recording needs ${formatBytes(info.disk_bytes)}: ` +
      'free some space, or give an --out elsewhere',
    { details: { free_bytes: free, needed_bytes: info.disk_bytes } },
  );
}

/** MEMBER, DATA…, HASH. @returns the size of the file */
async function unpackMember(
  source: PackReader,
  folder: string,
  aborted: AbortSignal,
): Promise<number> {
  const member = await source.member();
  const where = `member ${member.path}`;
  const path = join(folder, member.path);
  let file: FileHandle;
  try {
    mkdirSync(dirname(path), { recursive: true });
    file = await open(path, 'wx');
  } catch (cause) {
    if (['EEXIST', 'ENOTDIR'].includes(errorCodeOf(cause) ?? '')) {
      throw damaged(source.file, where, 'there are two of that name');
    }
    throw writeError(path, cause);
  }
  try {
    const hash = memberHash(member.bytes);
    let at = 0;
    for (;;) {
      aborted.throwIfAborted();
      const frame = await source.frame(where);
      if (frame.type === PACK_FRAME.HASH) {
        if (!frame.body.equals(hash.digest())) {
          throw damaged(source.file, where, 'its checksum differs');
        }
        break;
      }
      if (frame.type !== PACK_FRAME.DATA) {
        throw damaged(source.file, where, `a frame of type ${frame.type} is in the middle of it`);
      }
      const { offset, content } = await openData(source.file, where, frame.body, at, member.bytes);
      hash.update(frame.body.subarray(0, DATA_HEADER_BYTES)).update(content);
      await writeSparse(file, content, offset);
      at = offset + content.length;
    }
    await file.truncate(member.bytes); // a hole at the end
    await file.sync();
    return member.bytes;
  } catch (cause) {
    if (cause instanceof UnderstudyError || aborted.aborted) throw cause;
    throw writeError(path, cause);
  } finally {
    await file.close();
  }
}

async function openData(
  file: string,
  where: string,
  body: Buffer,
  from: number,
  fileBytes: number,
): Promise<{ offset: number; content: Buffer }> {
  if (body.length < DATA_HEADER_BYTES) throw damaged(file, where, 'a frame is too short');
  const offset = body.readBigUInt64LE(0);
  const bytes = body.readUInt32LE(8);
  if (bytes === 0 || bytes > CHUNK_BYTES || offset < from || offset + BigInt(bytes) > fileBytes) {
    throw damaged(file, where, `${bytes} bytes at ${offset} cannot be in it`);
  }
  let content: Buffer;
  try {
    content = await decompress(body.subarray(DATA_HEADER_BYTES), { maxOutputLength: bytes });
  } catch (cause) {
    throw damaged(file, where, `it cannot be decompressed (${messageOf(cause)})`);
  }
  if (content.length !== bytes) {
    throw damaged(file, where, `expected ${bytes} bytes, found ${content.length}`);
  }
  return { offset: Number(offset), content };
}

/** Verified, and still: a packed file can be made of anything. */
function checkIsRecording(file: string, folder: string): void {
  try {
    openRecording(folder);
  } catch (cause) {
    const code = errorCodeOf(cause) === 'log-version' ? 'pack-version' : 'pack-corrupt';
    const why = messageOf(cause).replaceAll(folder, 'what is in it');
    throw new UnderstudyError(code, `${file} holds no recording that can be used: ${why}`, {
      cause,
    });
  }
}

interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

/** Frames of a packed file, in order. */
class PackReader {
  readonly file: string;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #onProgress: UnpackOptions['onProgress'];
  /** Hash of every byte before the frame that is being read. */
  readonly #hash: Hash = createHash('sha256');
  #at = 0;

  private constructor(
    file: string,
    size: number,
    handle: FileHandle,
    onProgress: UnpackOptions['onProgress'],
  ) {
    this.file = file;
    this.size = size;
    this.#handle = handle;
    this.#onProgress = onProgress;
  }

  static async open(file: string, onProgress: UnpackOptions['onProgress']): Promise<PackReader> {
    let handle: FileHandle;
    try {
      handle = await open(file, 'r');
      const stats = await handle.stat();
      if (!stats.isFile()) {
        await handle.close();
        throw new Error('it is not a regular file');
      }
      const reader = new PackReader(file, stats.size, handle, onProgress);
      return reader;
    } catch (cause) {
      throw new UnderstudyError('file-io', `cannot read ${file}: ${messageOf(cause)}`, { cause });
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** The header and INFO. */
  async info(): Promise<Info> {
    const header = await this.#read(Math.min(HEADER_BYTES, this.size), 'its header');
    checkPackHeader(this.file, header);
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

  /** END, and nothing after it. */
  async end(): Promise<void> {
    const sum = this.#hash.copy().digest();
    const { type, body } = await this.frame('its end');
    if (type !== PACK_FRAME.END) throw damaged(this.file, 'its end', `a frame of type ${type}`);
    if (!body.equals(sum)) throw damaged(this.file, 'its end', 'the checksum of all of it differs');
    if (this.#at !== this.size) {
      throw damaged(this.file, 'its end', `${this.size - this.#at} bytes are behind it`);
    }
  }

  async frame(where: string): Promise<Frame> {
    const header = await this.#read(FRAME_HEADER_BYTES, where);
    const body = await this.#read(frameBodyBytes(this.file, where, header), where);
    const type = checkPackFrame(this.file, where, header, body);
    this.#hash.update(header).update(body);
    this.#onProgress(this.#at, this.size);
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
    if (bytes > this.size - this.#at) {
      throw damaged(this.file, where, `it is cut short at byte ${this.size}`);
    }
    const buffer = Buffer.alloc(bytes);
    for (let have = 0; have < bytes; ) {
      const { bytesRead } = await this.#handle.read(buffer, have, bytes - have, this.#at + have);
      if (bytesRead === 0) throw damaged(this.file, where, 'it became shorter meanwhile');
      have += bytesRead;
    }
    this.#at += bytes;
    return buffer;
  }
}
