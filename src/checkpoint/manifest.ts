// SPDX-License-Identifier: Apache-2.0
/**
 * The checkpoints of a recording: which there are, which are whole, and which chain
 * a replay starts from.
 *
 *   checkpoints/ICOUNT/manifest.json   committed by renaming the folder: it is whole
 *                     /state ram diskN binary, read by the QEMU build that wrote them
 *
 * A damaged one is never used: an older one is, or power-on, and that is said.
 */
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import {
  comparePoints,
  keyOf,
  nameOf,
  type Point,
  parsePoint,
  samePoint,
} from '../base/position.ts';
import { located, pointSchema, positionShape } from '../base/position-json.ts';

/** 1: uncompressed. 2: the state has 1024 queues of each virtio device. */
const FORMAT = 3;
export const MANIFEST = 'manifest.json';

const crc = z.string().regex(/^[0-9a-f]{8}$/);

/** What manifests of every format have. */
const outlineShape = z.object({
  ...positionShape,
  /** Records of the log before its own, the CHECKPOINT. */
  ordinal: z.coerce.bigint(),
  kind: z.enum(['full', 'incremental']),
  /** Where the one stands that it adds to. */
  parent: pointSchema.nullable(),
  /** Bytes of all its files but the manifest. */
  bytes: z.int(),
  /** Hash of CPUs and devices: also in the log. */
  digest: z.string().regex(/^[0-9a-f]{16}$/),
  created_at: z.string(),
});

const outlineSchema = outlineShape.transform(located);

const manifestShape = outlineShape.extend({
  format: z.literal(FORMAT),
  /** Offset in the payload stream, after its record. */
  data_offset: z.coerce.bigint(),
  /** How long the guest stood still. */
  pause_ns: z.int(),
  /** Part of the pause for CPUs and devices; the rest is for memory. */
  devices_ns: z.int(),
  files: z.array(z.object({ name: z.string().regex(/^[a-z0-9]+$/), bytes: z.int(), crc32: crc })),
});

const manifestSchema = manifestShape.transform(located);

export type CheckpointOutline = z.output<typeof outlineSchema>;
export type CheckpointManifest = z.output<typeof manifestSchema>;

export interface Checkpoint {
  readonly dir: string;
  readonly manifest: CheckpointManifest;
}

/** A damaged checkpoint, and why. */
export interface Rejected {
  readonly point: Point;
  readonly reason: string;
}

/** Where the checkpoints stand that are there, whole or not, oldest first. */
export function listCheckpoints(dir: string): Point[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .map(parsePoint)
    .filter((point) => point !== null)
    .sort(comparePoints);
}

/**
 * @throws UnderstudyError log-version when it is of another format; Error with a reason when it
 *   is not as it was written
 */
export function readManifest(dir: string): CheckpointManifest {
  return parseManifest(readFileSync(join(dir, MANIFEST), 'utf8'));
}

/** @throws Error with a reason when it is not as it was written */
export function parseManifest(text: string): CheckpointManifest {
  const match = /^(.*),"checksum":"([0-9a-f]{8})"\}\n$/s.exec(text);
  if (match === null || hex(crc32(match[1] ?? '')) !== match[2]) {
    throw new Error(`${MANIFEST} does not have its checksum`);
  }
  const parsed = JSON.parse(text) as { readonly format?: unknown };
  if (parsed.format !== FORMAT) {
    throw new UnderstudyError(
      'log-version',
      `it is of format ${String(parsed.format)} and this version reads ${FORMAT}; the version ` +
        'that made it can start there, this one at power-on, with the QEMU of that version',
    );
  }
  return manifestSchema.parse(parsed);
}

/**
 * What the checkpoints of any format say of themselves, oldest first, and how many say
 * nothing that can be read. Nothing is verified.
 */
export function readOutlines(dir: string): {
  outlines: CheckpointOutline[];
  unreadable: number;
} {
  const points = listCheckpoints(dir);
  const outlines = points.flatMap((point) => {
    try {
      const text = readFileSync(join(dir, keyOf(point), MANIFEST), 'utf8');
      return [outlineSchema.parse(JSON.parse(text))];
    } catch {
      return [];
    }
  });
  return { outlines, unreadable: points.length - outlines.length };
}

/** Finds chains, and remembers what it has verified. */
export class CheckpointFinder {
  readonly rejected: Rejected[] = [];
  readonly #dir: string;
  readonly #known = new Map<string, Checkpoint | null>();

  /** @param dir the recording's checkpoints/ */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * The newest whole chain that ends at or before `point`: full one first. Reads and
   * verifies every byte of it. Empty: there is none.
   */
  async chainBefore(point: Point): Promise<readonly Checkpoint[]> {
    const candidates = listCheckpoints(this.#dir).filter((at) => comparePoints(at, point) <= 0);
    for (const at of candidates.reverse()) {
      const chain = await this.#chainOf(at);
      if (chain !== null) return chain;
    }
    return [];
  }

  /** Whether the checkpoint that stands here is, with all that it adds to. */
  async isWhole(point: Point): Promise<boolean> {
    const newest = (await this.chainBefore(point)).at(-1);
    return newest !== undefined && samePoint(newest.manifest.point, point);
  }

  /** As if it were not there: the log does not agree with it. */
  reject(point: Point, reason: string): void {
    this.rejected.push({ point, reason });
    this.#known.set(keyOf(point), null);
  }

  async #chainOf(point: Point): Promise<Checkpoint[] | null> {
    const chain: Checkpoint[] = [];
    for (let at: Point | null = point; at !== null; ) {
      const checkpoint = await this.#verified(at);
      if (checkpoint === null) {
        if (!samePoint(at, point)) {
          this.reject(point, `it adds to the one at ${keyOf(at)}, which is not usable`);
        }
        return null;
      }
      chain.unshift(checkpoint);
      at = checkpoint.manifest.parent;
    }
    return chain;
  }

  async #verified(point: Point): Promise<Checkpoint | null> {
    const known = this.#known.get(keyOf(point));
    if (known !== undefined) return known;
    const dir = join(this.#dir, keyOf(point));
    try {
      const manifest = readManifest(dir);
      checkParent(manifest, point);
      for (const file of manifest.files) {
        const found = await crcOf(join(dir, file.name));
        if (found.bytes !== file.bytes || found.crc32 !== file.crc32) {
          throw new Error(`${file.name} does not have its checksum`);
        }
      }
      const checkpoint = { dir, manifest };
      this.#known.set(keyOf(point), checkpoint);
      return checkpoint;
    } catch (error) {
      this.reject(point, messageOf(error));
      return null;
    }
  }
}

function checkParent(manifest: CheckpointManifest, point: Point): void {
  const { parent, kind } = manifest;
  if (!samePoint(manifest.point, point)) {
    throw new Error(`it is the one at ${nameOf(manifest.point)}`);
  }
  const fits =
    kind === 'full' ? parent === null : parent !== null && comparePoints(parent, point) < 0;
  if (!fits) throw new Error(`a ${kind} one with parent ${parent === null ? null : keyOf(parent)}`);
}

async function crcOf(path: string): Promise<{ crc32: string; bytes: number }> {
  let value = 0;
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    value = crc32(chunk as Buffer, value);
    bytes += (chunk as Buffer).length;
  }
  return { crc32: hex(value), bytes };
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
