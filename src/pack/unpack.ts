// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a recording of a packed one (format.ts), in constant memory.
 *
 * Promise: the folder appears, by a rename, when every byte has been verified, or
 * not at all. The file is a stranger's: nothing in it is believed before it is
 * checked, and nothing is written outside the folder.
 */
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
  DATA_HEADER_BYTES,
  damaged,
  type Info,
  type Member,
  memberHash,
  PACK_FRAME,
} from './format.ts';
import { PackReader, type ReaderOptions } from './reader.ts';

export interface UnpackOptions extends ReaderOptions {
  readonly file: string;
  /** Must not exist; appears whole or not at all. */
  readonly out: string;
}

export interface UnpackResult {
  readonly dir: string;
  readonly members: number;
  /** Sizes of the members, holes included. */
  readonly bytes: number;
  readonly packedBytes: number;
  readonly isEncrypted: boolean;
  /** Fingerprint of the key that it says it was signed with; null: it is not signed. */
  readonly signer: string | null;
  /** That this is so was proved, by the key that was given. */
  readonly isVerified: boolean;
}

const decompress = promisify(brotliDecompress);
/** Room that the file system needs for directories and the like. */
const SPARE_BYTES = 1 << 20;

/**
 * Unpacks and verifies.
 * @throws UnderstudyError pack-corrupt | pack-version | pack-key | pack-signature | output-exists |
 *   disk-full | file-io
 */
export async function unpack(options: UnpackOptions, aborted: AbortSignal): Promise<UnpackResult> {
  const out = resolve(options.out);
  checkTarget(out);
  const source = await PackReader.open(resolve(options.file), options, aborted);
  const partial = join(dirname(out), `.${basename(out)}.partial-${process.pid}`);
  let isOurs = false;
  try {
    const info = await source.info();
    checkSpace(dirname(out), info);
    try {
      mkdirSync(partial);
      isOurs = true;
    } catch (cause) {
      throw writeError(partial, cause);
    }
    const room = new Room(source.file, info);
    for (let count = 0; count < info.members; count += 1) {
      await unpackMember(source, partial, room, aborted);
    }
    await source.end();
    checkIsRecording(source.file, partial);
    checkTarget(out);
    try {
      renameSync(partial, out);
    } catch (cause) {
      throw writeError(out, cause);
    }
    const { bytes: packedBytes, isEncrypted, signer, isVerified } = source;
    const { members } = info;
    return { dir: out, members, bytes: room.bytes, packedBytes, isEncrypted, signer, isVerified };
  } finally {
    await source.close();
    if (isOurs) rmSync(partial, { recursive: true, force: true });
  }
}

/**
 * What has been taken, against what INFO says: a few megabytes of brotli can be terabytes, and
 * the disk that they would fill may be a VM's.
 */
class Room {
  /** Sizes of the members so far. */
  bytes = 0;
  readonly #file: string;
  readonly #info: Info;
  #diskBytes = 0;

  constructor(file: string, info: Info) {
    this.#file = file;
    this.#info = info;
  }

  /** Before a member of that size is made. */
  member({ path, bytes }: Member): void {
    this.bytes += bytes;
    if (this.bytes > this.#info.bytes) this.#refuse(path, this.#info.bytes);
  }

  /** What became of the last chunk. */
  written(path: string, bytes: number): void {
    this.#diskBytes += bytes;
    if (this.#diskBytes > this.#info.disk_bytes) this.#refuse(path, this.#info.disk_bytes);
  }

  #refuse(path: string, most: number): never {
    throw damaged(this.#file, `member ${path}`, `all of it was to be ${most} bytes, and is more`);
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

/** MEMBER, DATA…, HASH. */
async function unpackMember(
  source: PackReader,
  folder: string,
  room: Room,
  aborted: AbortSignal,
): Promise<void> {
  const member = await source.member();
  room.member(member);
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
      room.written(member.path, await writeSparse(file, content, offset));
      at = offset + content.length;
    }
    await file.truncate(member.bytes); // a hole at the end
    await file.sync();
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
