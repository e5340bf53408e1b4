// SPDX-License-Identifier: Apache-2.0
/**
 * Checkpoints that somebody made up, checksums and all: each is refused by name, by a QEMU that is
 * confined, and none makes it ask for the host's memory (REVIEW C10).
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assembledVm } from '../lib/assembled.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { run, runJson, scratch } from '../lib/command.ts';

/** Offsets in "state" and "ram" (qemu/exitlog/cut/checkpoint-format.h). */
const SEED_LEN_AT = 104;
const SECTIONS_BYTES_AT = 176;
const RAM_BLOCKS_AT = 12;
const RAM_USED_BYTES_AT = 16 + 256;

const dir = scratch('hostile-checkpoint');
const good = join(dir, 'good');
const hostile = suite('a checkpoint that somebody made up');

hostile.before(async () => {
  const vm = assembledVm(join(dir, 'vm'), 'boot-sector');
  const { code, stderr } = await run(['record', vm, '--out', good, '--checkpoint-every', '200ms']);
  assert.is(code, 0, stderr);
});

/** A replay from the first checkpoint, one of whose files somebody has changed. */
async function replayed(name: string, change: (bytes: Buffer) => void): Promise<string> {
  const out = join(dir, 'changed');
  rmSync(out, { recursive: true, force: true });
  cpSync(good, out, { recursive: true });
  const icount = checkpointsOf(out)[0] ?? '';
  const folder = join(out, 'checkpoints', icount);
  const bytes = readFileSync(join(folder, name));
  change(bytes);
  writeFileSync(join(folder, name), bytes);
  const file = join(folder, 'manifest.json');
  const [body = ''] = readFileSync(file, 'utf8').split(',"checksum"');
  const text = body.replace(
    new RegExp(`("name":"${name}","bytes":\\d+,"crc32":")[0-9a-f]+`),
    (_, before: string) => before + crc32(bytes).toString(16).padStart(8, '0'),
  );
  writeFileSync(file, `${text},"checksum":"${crc32(text).toString(16).padStart(8, '0')}"}\n`);
  const { code, json, stderr } = await runJson(['replay', out, '--from', icount, '--verify']);
  return `${code} ${JSON.stringify(json)} ${stderr}`;
}

hostile('unchanged it is replayed', async () => {
  assert.match(await replayed('state', () => {}), /^0 /);
});

hostile('lengths that no checkpoint has', async () => {
  const none = /a checkpoint's state is none/;
  const large = (bytes: Buffer): unknown => bytes.writeBigUInt64LE(2n ** 62n, SECTIONS_BYTES_AT);
  assert.match(await replayed('state', large), none);
  assert.match(await replayed('state', (bytes) => bytes.writeUInt32LE(65, SEED_LEN_AT)), none);
  const blocks = (bytes: Buffer): unknown => bytes.writeUInt32LE(0xffff_ffff, RAM_BLOCKS_AT);
  assert.match(await replayed('ram', blocks), /memory is none that this build reads/);
  const used = (bytes: Buffer): unknown => bytes.writeBigUInt64LE(2n ** 60n, RAM_USED_BYTES_AT);
  assert.match(await replayed('ram', used), /this machine has no memory/);
});

hostile('a state of devices that is none ends the replay, and nothing else', async () => {
  const noise = (bytes: Buffer): void => {
    for (let at = SECTIONS_BYTES_AT + 8; at < bytes.length; at += 7) bytes[at] = at & 0xff;
  };
  const said = await replayed('state', noise);
  assert.not.match(said, /^0 /);
});

hostile.run();
