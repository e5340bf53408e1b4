// SPDX-License-Identifier: Apache-2.0
/** Writes a recording into one file (format.ts), in constant memory. */
import { createHash, type Hash, type KeyObject } from 'node:crypto';
import { closeSync, existsSync, lstatSync, openSync, type Stats } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import { dataRanges } from '../../native/kvm-exit-log/index.ts';
import { messageOf, UnderstudyError, writeError } from '../base/errors.ts';
import { isZero } from '../base/sparse.ts';
import { version } from '../base/version.ts';
import { filesBelow, missingFiles } from '../catalog/scan.ts';
import { openRecording, type Recording } from '../recording/folder.ts';
import { holdRecording, isBeingRecorded } from '../recording/lock.ts';
import {
  CHUNK_BYTES,
  dataHeader,
  frameHeader,
  type Info,
  isSafePath,
  memberHash,
  PACK_FRAME,
  type PackFrameType,
  packHeader,
} from './format.ts';
import { SealWriter, writeAll } from './seal.ts';
import { signatureOf } from './signature.ts';
import { verifyContent } from './verify.ts';

export interface PackOptions {
  readonly dir: string;
  /** Must not exist; appears whole or not at all. */
  readonly out: string;
  /** An Ed25519 key; absent: it is not signed. */
  readonly sign?: KeyObject;
  /** Whoever reads it needs the same; absent: it is not encrypted. */
  readonly secret?: Buffer;
  /** Bytes of content read so far, of how many. */
  readonly onProgress: (done: number, total: number) => void;
}

export interface PackResult {
  readonly file: string;
  readonly members: number;
  /** Sizes of the members, holes included. */
  readonly bytes: number;
  readonly packedBytes: number;
}

const compress = promisify(brotliCompress);
/** Brotli's quality: beyond 5 a kernel takes three times as long and is 5 % smaller. */
const QUALITY = 5;

/**
 * Packs a recording that is whole up to where its recorder came.
 * @throws UnderstudyError not-a-recording | recording-in-use | output-exists | disk-full |
 *   log-* when it is damaged: a copy of damage would only be found later
 */
export async function pack(options: PackOptions, aborted: AbortSignal): Promise<PackResult> {
  const out = resolve(options.out);
  const recording = openRecording(options.dir);
  const { paths } = recording;
  const hold = holdRecording(paths);
  const partial = join(dirname(out), `.${basename(out)}.partial-${process.pid}`);
  try {
    if (isBeingRecorded(paths)) {
      throw new UnderstudyError(
        'recording-in-use',
        `${paths.dir} is still being recorded: stop its recorder first`,
      );
    }
    if (existsSync(out)) {
      throw new UnderstudyError('output-exists', `${out} exists: give another --out, or remove it`);
    }
    const missing = missingFiles(paths.dir);
    if (missing.length > 0) {
      throw new UnderstudyError(
        'not-a-recording',
        `${paths.dir} is not whole, it has no ${missing.join(', no ')}`,
      );
    }
    await verifyContent(recording);
    const result = await writePack(recording, partial, options, aborted);
    // link(2) would refuse a file that has appeared since, but not every file system has it.
    if (existsSync(out)) throw new UnderstudyError('output-exists', `${out} exists by now`);
    await rename(partial, out);
    return { ...result, file: out };
  } finally {
    await rm(partial, { force: true });
    hold.release();
  }
}

interface Source {
  readonly path: string;
  readonly member: string;
  readonly bytes: number;
  readonly diskBytes: number;
}

/** The files of a recording: nothing else that lies in its folder. */
function membersOf(dir: string): Source[] {
  const wanted =
    /^(VM\.toml|vm\.json|kernel|initrd|firmware\/[a-z0-9_.-]+|console\.log|end\.json|retained\.json|disks\/\d+\.raw|log\/\d+\.udl|checkpoints\/\d+\/.+)$/;
  return filesBelow(dir).flatMap(({ path, stats }) => {
    const member = path.slice(dir.length + 1);
    if (!wanted.test(member)) return [];
    if (!stats.isFile() || !isSafePath(member)) {
      throw new UnderstudyError(
        'not-a-recording',
        `${path} cannot be packed: it is no regular file, or its name is not portable`,
      );
    }
    return [{ path, member, bytes: stats.size, diskBytes: diskBytesOf(path, stats) }];
  });
}

/** A file system that compresses says fewer blocks than an unpacker elsewhere needs. */
function diskBytesOf(path: string, { size, blocks }: Stats): number {
  const file = openSync(path, 'r');
  try {
    const data = dataRanges(file, size).reduce((sum, { from, to }) => sum + to - from, 0);
    return Math.min(size, Math.max(data, blocks * 512));
  } finally {
    closeSync(file);
  }
}

async function writePack(
  recording: Recording,
  partial: string,
  options: PackOptions,
  aborted: AbortSignal,
): Promise<Omit<PackResult, 'file'>> {
  const sources = membersOf(recording.paths.dir);
  const sum = (of: (source: Source) => number): number =>
    sources.reduce((total, source) => total + of(source), 0);
  const bytes = sum((source) => source.bytes);
  const info: Info = {
    name: recording.manifest.name,
    vm_id: recording.manifest.vm_id,
    understudy: version(),
    packed_at: new Date().toISOString(),
    members: sources.length,
    bytes,
    disk_bytes: sum((source) => source.diskBytes),
  };
  const writer = await PackWriter.create(partial, options);
  try {
    await writer.json(PACK_FRAME.INFO, info);
    let done = 0;
    for (const source of sources) {
      await writer.member(source, aborted, (read) => {
        done += read;
        options.onProgress(done, bytes);
      });
    }
    const packedBytes = await writer.end();
    return { members: sources.length, bytes, packedBytes };
  } finally {
    await writer.close();
  }
}

/** Offsets of the chunks that are not all hole; holes read as zeros, which are not stored. */
function* chunksWithData(file: FileHandle, bytes: number): Generator<number> {
  let next = 0;
  for (const { from, to } of dataRanges(file.fd, bytes)) {
    next = Math.max(next, from - (from % CHUNK_BYTES));
    for (; next < to; next += CHUNK_BYTES) yield next;
  }
}

class PackWriter {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #hash: Hash = createHash('sha256');
  readonly #sign: KeyObject | undefined;
  /** Null: it is not encrypted. */
  #seal: SealWriter | null = null;
  #bytes = 0;

  private constructor(handle: FileHandle, path: string, sign: KeyObject | undefined) {
    this.#handle = handle;
    this.#path = path;
    this.#sign = sign;
  }

  static async create(
    path: string,
    { sign, secret }: Pick<PackOptions, 'sign' | 'secret'>,
  ): Promise<PackWriter> {
    try {
      const handle = await open(path, 'wx', 0o600);
      const writer = new PackWriter(handle, path, sign);
      if (secret !== undefined) writer.#seal = await SealWriter.begin(handle, secret);
      await writer.#write(packHeader(sign !== undefined));
      return writer;
    } catch (cause) {
      throw writeError(path, cause);
    }
  }

  async json(type: PackFrameType, value: object): Promise<void> {
    await this.#frame(type, Buffer.from(JSON.stringify(value)));
  }

  /** One file: MEMBER, DATA…, HASH. Only what is not zero is stored. */
  async member(
    source: Source,
    aborted: AbortSignal,
    onRead: (bytes: number) => void,
  ): Promise<void> {
    const { path, member, bytes } = source;
    await this.json(PACK_FRAME.MEMBER, { path: member, bytes });
    const hash = memberHash(bytes);
    let file: FileHandle;
    try {
      file = await open(path, 'r');
    } catch (cause) {
      throw new UnderstudyError('file-io', `cannot read ${path}: ${messageOf(cause)}`, { cause });
    }
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      let read = 0;
      for (const offset of chunksWithData(file, bytes)) {
        aborted.throwIfAborted();
        onRead(offset - read);
        read = offset;
        const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, offset);
        await this.#data(chunk.subarray(0, bytesRead), offset, hash);
        read += bytesRead;
        onRead(bytesRead);
      }
      onRead(bytes - read);
    } finally {
      await file.close();
    }
    if (lstatSync(path).size !== bytes) {
      throw new UnderstudyError('recording-in-use', `${path} changed while it was packed`);
    }
    await this.#frame(PACK_FRAME.HASH, hash.digest());
  }

  async #data(content: Buffer, offset: number, hash: Hash): Promise<void> {
    if (isZero(content)) return;
    const header = dataHeader(offset, content.length);
    hash.update(header).update(content);
    const packed = await compress(content, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: QUALITY,
        [constants.BROTLI_PARAM_LGWIN]: 20,
        [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
      },
    });
    await this.#frame(PACK_FRAME.DATA, header, packed);
  }

  /** Ends the file, and has it on the disk. @returns its size */
  async end(): Promise<number> {
    const sum = (): Buffer => this.#hash.copy().digest();
    if (this.#sign !== undefined) {
      await this.#frame(PACK_FRAME.SIGNATURE, signatureOf(this.#sign, sum()));
    }
    await this.#frame(PACK_FRAME.END, sum());
    try {
      await this.#seal?.end();
      await this.#handle.sync();
    } catch (cause) {
      throw writeError(this.#path, cause);
    }
    return this.#seal?.bytes ?? this.#bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #frame(type: PackFrameType, ...parts: readonly Buffer[]): Promise<void> {
    const body = Buffer.concat(parts);
    await this.#write(frameHeader(type, body), body);
  }

  async #write(...parts: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat(parts);
    this.#hash.update(bytes);
    try {
      if (this.#seal !== null) await this.#seal.write(bytes);
      else await writeAll(this.#handle, bytes);
    } catch (cause) {
      throw writeError(this.#path, cause);
    }
    this.#bytes += bytes.length;
  }
}
