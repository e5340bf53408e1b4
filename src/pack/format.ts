// SPDX-License-Identifier: Apache-2.0
/**
 * A packed recording: one file that replays on another machine once unpacked.
 * Reader (unpack.ts) and writer (pack.ts) share this page.
 *
 *   header   8 bytes "\x89UDPACK\n", u32 version, u32 crc32 of these 12 bytes
 *   frames   u8 type, 3 zero bytes, u32 bytes of body, u32 crc32 of these 8 bytes and
 *            of the body, body
 *
 * All integers are little-endian. Frames, in this order:
 *
 *   INFO     once; JSON, Info
 *   MEMBER   begins a file; JSON, Member
 *   DATA     u64 offset in the file, u32 bytes of content, then those bytes as one
 *            brotli stream; offsets grow, what lies between two is zero
 *   HASH     ends the file; 32 bytes: sha256 of its size (u64), and of offset (u64),
 *            bytes (u32) and content of each DATA
 *   …        MEMBER to HASH again for each file
 *   SIGNATURE  in version 2 alone, once; 32 bytes: sha256 of the signer's public key (SPKI), 64
 *            bytes: Ed25519 of "understudy pack 2\n" and the sha256 of every byte before this frame
 *   END      once, then nothing; 32 bytes: sha256 of every byte before this frame
 *
 * A file that is not signed has version 1, which every understudy reads. An encrypted one is
 * all of this, sealed (seal.ts).
 *
 * Why not tar: sparse files. A disk's holes are neither stored nor written, and a
 * mostly empty one costs what is in it.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { UnderstudyError } from '../base/errors.ts';

const PLAIN_VERSION = 1;
const SIGNED_VERSION = 2;
export const PACK_SUFFIX = '.udpack';
export const MAGIC = Buffer.from('\x89UDPACK\n', 'latin1');
export const HEADER_BYTES = 16;
export const FRAME_HEADER_BYTES = 12;
/** Content of one DATA frame at most; a reader needs room for a few of them. */
export const CHUNK_BYTES = 1 << 20;
/** Brotli's worst case is a little more than its input. */
export const BODY_BYTES_MAX = CHUNK_BYTES + 64 * 1024;
export const DATA_HEADER_BYTES = 12;

/** Types of frame. Never reused. */
export const PACK_FRAME = { INFO: 1, MEMBER: 2, DATA: 3, HASH: 4, END: 5, SIGNATURE: 6 } as const;
export type PackFrameType = (typeof PACK_FRAME)[keyof typeof PACK_FRAME];

export const infoSchema = z.object({
  /** Name of the VM. */
  name: z.string(),
  vm_id: z.string(),
  understudy: z.string(),
  packed_at: z.string(),
  members: z.int().nonnegative(),
  /** Sizes of all members, holes included. */
  bytes: z.int().nonnegative(),
  /** What they use on disk, at most: what an unpacker needs. */
  disk_bytes: z.int().nonnegative(),
});

export type Info = z.output<typeof infoSchema>;

export const memberSchema = z.object({
  /** Relative, '/' between its parts; see safePath. */
  path: z.string(),
  bytes: z.int().nonnegative(),
});

export type Member = z.output<typeof memberSchema>;

export function packHeader(isSigned: boolean): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(isSigned ? SIGNED_VERSION : PLAIN_VERSION, 8);
  header.writeUInt32LE(crc32(header.subarray(0, 12)), 12);
  return header;
}

/**
 * @returns whether it is signed
 * @throws UnderstudyError pack-corrupt | pack-version
 */
export function checkPackHeader(file: string, header: Buffer): boolean {
  if (header.length < HEADER_BYTES || !header.subarray(0, 8).equals(MAGIC)) {
    throw new UnderstudyError(
      'pack-corrupt',
      `${file} is no packed recording: it does not begin like one (\`understudy pack\` makes one)`,
    );
  }
  if (header.readUInt32LE(12) !== crc32(header.subarray(0, 12))) {
    throw damaged(file, 'its header', 'the checksum of the first 12 bytes differs');
  }
  const version = header.readUInt32LE(8);
  if (version === PLAIN_VERSION || version === SIGNED_VERSION) return version === SIGNED_VERSION;
  throw packVersion(file, version, SIGNED_VERSION);
}

export function packVersion(file: string, found: number, known: number): UnderstudyError {
  return new UnderstudyError(
    'pack-version',
    `${file} has pack version ${found}, this understudy reads version ${known}: ` +
      'use the understudy that made it, or a newer one',
  );
}

export function frameHeader(type: PackFrameType, body: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt32LE(crc32(body, crc32(header.subarray(0, 8))), 8);
  return header;
}

/**
 * How long the body is that follows. Not believed, only bounded: checkPackFrame does the rest.
 * @param where what is being read, for the message
 * @throws UnderstudyError pack-corrupt
 */
export function frameBodyBytes(file: string, where: string, header: Buffer): number {
  const bodyBytes = header.readUInt32LE(4);
  if (bodyBytes > BODY_BYTES_MAX) {
    throw damaged(file, where, `a frame of ${bodyBytes} bytes is too long`);
  }
  return bodyBytes;
}

/** @returns the frame's type. @throws UnderstudyError pack-corrupt */
export function checkPackFrame(file: string, where: string, header: Buffer, body: Buffer): number {
  if (header.readUInt32LE(8) !== crc32(body, crc32(header.subarray(0, 8)))) {
    throw damaged(file, where, 'the checksum of a frame differs');
  }
  return header.readUInt8(0);
}

/** The hash of a member: of its size first. */
export function memberHash(bytes: number): Hash {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(bytes));
  return createHash('sha256').update(size);
}

/** The first 12 bytes of a DATA body. */
export function dataHeader(offset: number, bytes: number): Buffer {
  const header = Buffer.alloc(DATA_HEADER_BYTES);
  header.writeBigUInt64LE(BigInt(offset), 0);
  header.writeUInt32LE(bytes, 8);
  return header;
}

/** Whether a member may have this path: below the folder, whatever it is unpacked on. */
export function isSafePath(path: string): boolean {
  if (path.length === 0 || path.length > 255) return false;
  return path.split('/').every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(part));
}

/** @param where "member log/000001.udl", "its end" */
export function damaged(file: string, where: string, why: string): UnderstudyError {
  return new UnderstudyError(
    'pack-corrupt',
    `${file} is damaged at ${where}: ${why}; copy or pack it again`,
    { details: { file, where } },
  );
}
