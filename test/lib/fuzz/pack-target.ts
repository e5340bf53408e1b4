// SPDX-License-Identifier: Apache-2.0
/** A packed recording that anybody may have made: plain, signed, encrypted, or both. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnderstudyError } from '../../../src/base/errors.ts';
import type { ReaderOptions } from '../../../src/pack/reader.ts';
import { type UnpackResult, unpack } from '../../../src/pack/unpack.ts';
import type { Random } from '../../simulation/random.ts';
import { MANIFEST } from '../pack-manifest.ts';
import { mutateBytes, mutateJson, pick } from './mutate.ts';
import {
  type Body,
  bodiesOf,
  contentOf,
  dataBody,
  endedPack,
  FRAME,
  hashed,
  isSealedPack,
  isSignedByKey,
  isSignedPack,
  packOf,
  SECRET,
  saltOf,
  sealedChunks,
  sealHeader,
  sealPack,
  unsealPack,
  VERIFY_KEY,
} from './pack-bytes.ts';
import { must, type Target } from './target.ts';

// Where a sync takes no time.
const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'understudy-packs-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const file = join(dir, 'x.udpack');
const out = join(dir, 'out');

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** The pack of a recording that can be opened. @param bulk a disk that no compression makes smaller */
function recordingBodies(bulk: Buffer): Body[] {
  const files: [path: string, content: Buffer][] = [
    ['VM.toml', Buffer.from('name = "x"\nkernel = "kernel"\n')],
    ['vm.json', json(MANIFEST)],
    ['kernel', Buffer.from('a kernel')],
    ...(bulk.length > 0 ? [['disks/0.raw', bulk] as [string, Buffer]] : []),
  ];
  const bytes = files.reduce((sum, [, content]) => sum + content.length, 0);
  const info = {
    name: 'demo',
    vm_id: 'ab'.repeat(16),
    understudy: '0.1.0',
    packed_at: '2026-11-30T00:00:00Z',
    members: files.length,
    bytes,
    disk_bytes: bytes + 4096,
  };
  const members = files.flatMap(([path, content]): Body[] => [
    [FRAME.member, json({ path, bytes: content.length })],
    [FRAME.data, dataBody(content)],
    [FRAME.hash, Buffer.alloc(32)],
  ]);
  return hashed([[FRAME.info, json(info)], ...members]);
}

/** No two bytes follow from each other, and they are the same each time. */
const noise = (bytes: number): Buffer =>
  createHash('shake256', { outputLength: bytes }).update('noise').digest();

function seeds(): Buffer[] {
  const small = recordingBodies(Buffer.alloc(0));
  // More than a chunk of what is encrypted.
  const large = recordingBodies(noise(70_000));
  return [
    endedPack(false, small),
    endedPack(true, small),
    sealPack(endedPack(false, small)),
    sealPack(endedPack(true, large)),
  ];
}

/** The content of a file with another content, of the length that its DATA says. */
function mutateData(body: Buffer, other: Buffer, random: Random): Buffer {
  const content = contentOf(body);
  if (content === null || random.chance(0.3)) return mutateBytes(body, other, random);
  const isJson = content[0] === 0x7b;
  const changed = (isJson ? mutateJson : mutateBytes)(content, other, random);
  return dataBody(changed, random.chance(0.1) ? random.int(0, 1 << 20) : 0);
}

/** INFO and MEMBER say what is there: another content has another length. */
function sized(bodies: readonly Body[]): Body[] {
  const lengths = bodies.map(([type, body], at) => {
    const [next, data] = bodies[at + 1] ?? [0, body];
    if (type !== FRAME.member || next !== FRAME.data) return 0;
    return contentOf(data)?.length ?? 0;
  });
  const bytes = lengths.reduce((sum, length) => sum + length, 0);
  const members = bodies.filter(([type]) => type === FRAME.member).length;
  return bodies.map(([type, body], at) => {
    const changes =
      type === FRAME.info ? { members, bytes, disk_bytes: bytes } : { bytes: lengths[at] };
    if (type !== FRAME.info && type !== FRAME.member) return [type, body];
    try {
      return [type, json({ ...JSON.parse(body.toString('utf8')), ...changes })];
    } catch {
      return [type, body];
    }
  });
}

/** Frames that are each kept, dropped, repeated or with another body, their checksums right. */
function mutatePlain(seed: Buffer, other: Buffer, random: Random): Buffer {
  if (random.chance(0.1)) return mutateBytes(seed, other, random);
  let bodies = bodiesOf(seed);
  const at = random.int(0, Math.max(0, bodies.length - 1));
  const [type, body] = bodies[at] ?? [1, Buffer.alloc(0)];
  const how = random.next();
  if (how < 0.1) bodies.splice(at, 1);
  else if (how < 0.2) bodies.splice(random.int(0, bodies.length), 0, [type, body]);
  else if (how < 0.3) bodies[at] = [random.int(0, FRAME.most), body];
  else if (type === FRAME.info || type === FRAME.member) {
    bodies[at] = [type, mutateJson(body, other, random)];
  } else if (type === FRAME.data) bodies[at] = [type, mutateData(body, other, random)];
  else bodies[at] = [type, mutateBytes(body, other, random)];
  if (random.chance(0.5)) bodies = sized(bodies);
  if (random.chance(0.8)) bodies = hashed(bodies);
  const isSigned = random.chance(0.9) ? isSignedPack(seed) : random.chance(0.5);
  return random.chance(0.8) ? endedPack(isSigned, bodies) : packOf(isSigned, bodies);
}

/** Chunks of an encrypted file that were moved, left out, repeated, or are another file's. */
function mutateChunks(seed: Buffer, other: Buffer, random: Random): Buffer {
  const chunks = sealedChunks(seed);
  const more = isSealedPack(other) ? sealedChunks(other) : chunks;
  const added = more.length > 0 && random.chance(0.5) ? [pick(more, random)] : [];
  chunks.splice(random.int(0, chunks.length), random.int(0, 1), ...added);
  return Buffer.concat([sealHeader(random.chance(0.8) ? seed : other), ...chunks]);
}

function mutate(seed: Buffer, other: Buffer, random: Random): Buffer {
  const isSealed = isSealedPack(seed) && seed.length > sealHeader(seed).length;
  if (!isSealed) {
    const plain = mutatePlain(seed, other, random);
    return random.chance(0.1) ? sealPack(plain) : plain;
  }
  if (random.chance(0.1)) return mutateBytes(seed, other, random);
  if (random.chance(0.25)) return mutateChunks(seed, other, random);
  const plain = mutatePlain(unsealPack(seed), other, random);
  return random.chance(0.1) ? plain : sealPack(plain, saltOf(seed));
}

type Outcome = UnpackResult | UnderstudyError;

async function tried(keys: Partial<ReaderOptions>): Promise<Outcome> {
  try {
    return await unpack({ file, out, onProgress: () => {}, ...keys }, new AbortController().signal);
  } catch (error) {
    must(readdirSync(dir).length === 1, 'nothing is left of what was refused');
    if (!(error instanceof UnderstudyError)) throw error;
    return error;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

const isTaken = (outcome: Outcome): outcome is UnpackResult =>
  !(outcome instanceof UnderstudyError);

/** With and without the keys: what is believed has been signed, and encrypted, with them. */
async function run(input: Buffer): Promise<unknown> {
  writeFileSync(file, input);
  const isSealed = isSealedPack(input);
  const secret = isSealed ? { secret: SECRET } : {};
  if (isSealed) must(!isTaken(await tried({})), 'an encrypted one is opened without its key');
  const any = await tried(secret);
  const verified = await tried({ ...secret, verifyKey: VERIFY_KEY });
  if (isTaken(any) && isSealed) {
    const same = sealPack(unsealPack(input), saltOf(input));
    must(same.equals(input), 'each byte of an encrypted one is authentic');
  }
  if (isTaken(verified)) {
    const content = isSealed ? unsealPack(input) : input;
    must(isTaken(any), 'what is verified is also taken unverified');
    must(verified.isVerified && isSignedByKey(content), 'what is verified was signed');
  }
  if (!isTaken(any)) throw any;
  return [`${any.members} ${any.signer !== null}`, isTaken(verified) ? 'taken' : verified.code];
}

export const PACK_TARGET: Target = { name: 'pack', seeds, mutate, run };
