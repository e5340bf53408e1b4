// SPDX-License-Identifier: Apache-2.0
/** Recordings by the real command, with test/lib/fake-vm.c in QEMU's place. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildFakeVm, run, runJson, scratch } from './command.ts';

export const dir = scratch('cli');
export const env: Record<string, string> = {
  UNDERSTUDY_QEMU: buildFakeVm(dir),
  UNDERSTUDY_FIRMWARE_DIR: dir,
  UNDERSTUDY_HANG_TIMEOUT_MS: '1500',
};

writeFileSync(join(dir, 'kernel'), 'a kernel');
writeFileSync(
  join(dir, 'VM.toml'),
  'name = "fake"\nkernel = "kernel"\n[[disk]]\nimage = "disk.raw"\n',
);
writeFileSync(join(dir, 'disk.raw'), '');
truncateSync(join(dir, 'disk.raw'), 1 << 20);

export const vm = join(dir, 'VM.toml');
let count = 0;
export const fresh = (): string => join(dir, `rec-${++count}`);
export const segment = (recording: string): string => join(recording, 'log', '000001.udl');

interface Failure {
  readonly code: string;
  readonly message: string;
}

/** Runs something that must fail; its `error`. */
export async function failure(
  exitCode: number,
  args: readonly string[],
  more: Record<string, string> = {},
): Promise<Failure> {
  const { code, json, stderr } = await runJson(args, { env: { ...env, ...more } });
  const error = json.error as Failure | undefined;
  assert.is(code, exitCode, `exit code of ${args.join(' ')}: ${stderr}`);
  assert.ok(error, 'an error in the JSON');
  assert.match(stderr, error?.message ?? '');
  return error ?? { code: '', message: '' };
}

/** Content of everything in a folder. */
export function fingerprint(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    hash.update(name);
    const path = join(folder, name);
    if (!name.endsWith('log') && !name.endsWith('disks')) hash.update(readFileSync(path));
  }
  return hash.digest('hex');
}

export async function recorded(more: Record<string, string> = {}): Promise<string> {
  const out = fresh();
  const { code, stderr } = await run(['record', vm, '--out', out], { env: { ...env, ...more } });
  assert.is(code, 0, stderr);
  return out;
}
