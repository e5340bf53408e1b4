// SPDX-License-Identifier: Apache-2.0
/** Checkpoints that no QEMU made: for tests of who lists, verifies and deletes them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

/** As qemu/exitlog/cut/checkpoint-write.c writes it. */
const FORMAT = 3;

export interface Written {
  readonly icount: number;
  /** Null: a full one. */
  readonly parent: number | null;
  readonly createdMs?: number;
  /** Default: the one that is written today. */
  readonly format?: number;
}

const hex = (value: number): string => value.toString(16).padStart(8, '0');

/** @returns its folder */
export function writeCheckpoint(base: string, written: Written): string {
  const { icount, parent, createdMs = 0, format = FORMAT } = written;
  const dir = join(base, String(icount));
  mkdirSync(dir, { recursive: true });
  const files = ['state', 'ram'].map((name) => {
    const content = Buffer.from(`${name} of ${icount}`);
    writeFileSync(join(dir, name), content);
    return { name, bytes: content.length, crc32: hex(crc32(content)) };
  });
  const body = JSON.stringify({
    format,
    icount,
    vtime_ns: icount * 2,
    ordinal: 7,
    data_offset: 64,
    kind: parent === null ? 'full' : 'incremental',
    parent,
    bytes: 1,
    digest: '0123456789abcdef',
    created_at: new Date(createdMs).toISOString(),
    pause_ns: 1000,
    devices_ns: 500,
    files,
  }).slice(0, -1);
  writeFileSync(join(dir, 'manifest.json'), `${body},"checksum":"${hex(crc32(body))}"}\n`);
  return dir;
}
