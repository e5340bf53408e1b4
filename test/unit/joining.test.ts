// SPDX-License-Identifier: Apache-2.0
/** The messages of a join to a running VM. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atIcount } from '../../src/base/position.ts';
import * as joining from '../../src/wire/joining.ts';
import type { Frame } from '../../src/wire/parser.ts';

const frameOf = (bytes: Buffer): Frame => ({
  type: bytes.readUInt16LE(4),
  buffer: bytes,
  offset: 0,
  length: bytes.length,
});

const codec = suite('messages of a join');

codec('the messages of a join come back as they went, whole disks in parts', () => {
  const hashes = BigUint64Array.from({ length: 5000 }, (_, index) => BigInt(index) << 40n);
  const parts = [...joining.encodeBlocks(3, hashes)].map((bytes) =>
    joining.decodeBlocks(frameOf(bytes)),
  );
  assert.equal(
    parts.map(({ disk, first }) => [disk, first]),
    [
      [3, 0n],
      [3, 4096n],
    ],
  );
  assert.equal(
    parts.flatMap((part) => [...part.hashes]),
    [...hashes],
  );
  const manifest = '{"format":2,"files":[]}\n';
  assert.is(joining.decodeCheckpoint(frameOf(joining.encodeCheckpoint(manifest))), manifest);
  const entrance = { sequence: 7n, recordBase: 1n << 60n, dataBase: 8n, prevChecksum: 9n };
  const sent = { start: { point: atIcount(3n), entrance }, pieces: 1n << 50n };
  assert.equal(joining.decodeStart(frameOf(joining.encodeStart(sent))), sent);
  const told = { sequence: 12n, term: 4 };
  assert.equal(joining.decodeProtected(frameOf(joining.encodeProtected(told))), told);
});

codec('a checkpoint with a flipped bit is refused', () => {
  const bytes = joining.encodeCheckpoint('x'.repeat(512));
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 100) ^ 1, bytes.length - 100);
  assert.throws(() => joining.decodeCheckpoint(frameOf(bytes)), /damaged checkpoint: .*checksum/);
});

codec.run();
