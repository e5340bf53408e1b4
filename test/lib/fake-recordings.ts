// SPDX-License-Identifier: Apache-2.0
/** A VM on fake-vm.c, its recordings, and a catalog of their own. */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildFakeVm, run, runJson, scratch } from './command.ts';

export interface FakeVm {
  readonly dir: string;
  readonly toml: string;
  readonly disk: string;
  readonly env: Readonly<Record<string, string>>;
  /** A path for a recording that is not there yet. */
  fresh(): string;
  /** Records to power-off; the folder. */
  record(more?: Readonly<Record<string, string>>): Promise<string>;
  /** Runs what must fail; its `error`. */
  failure(
    exitCode: number,
    args: readonly string[],
    more?: Readonly<Record<string, string>>,
  ): Promise<{ code: string; message: string }>;
}

let root = '';
let qemu = '';

/** @param diskBytes of the image, all of it a hole */
export function makeFakeVm(name: string, diskBytes = 1 << 20): FakeVm {
  if (root === '') {
    root = scratch('fake');
    qemu = buildFakeVm(root);
  }
  const dir = join(root, name);
  mkdirSync(dir);
  const env = {
    UNDERSTUDY_QEMU: qemu,
    UNDERSTUDY_FIRMWARE_DIR: dir,
    UNDERSTUDY_HANG_TIMEOUT_MS: '1500',
    UNDERSTUDY_CATALOG_DIR: join(dir, 'catalog'),
  };
  const toml = join(dir, 'VM.toml');
  const disk = join(dir, 'disk.raw');
  writeFileSync(join(dir, 'kernel'), 'a kernel');
  writeFileSync(toml, 'name = "fake"\nkernel = "kernel"\n[[disk]]\nimage = "disk.raw"\n');
  writeFileSync(disk, '');
  truncateSync(disk, diskBytes);
  let count = 0;
  const fresh = (): string => join(dir, `rec-${++count}`);
  return {
    dir,
    toml,
    disk,
    env,
    fresh,
    async record(more = {}) {
      const out = fresh();
      const { code, stderr } = await run(['record', toml, '--out', out], {
        env: { ...env, ...more },
      });
      assert.is(code, 0, stderr);
      return out;
    },
    async failure(exitCode, args, more = {}) {
      const { code, json, stderr } = await runJson(args, { env: { ...env, ...more } });
      const error = json.error as { code: string; message: string } | undefined;
      assert.is(code, exitCode, `exit code of ${args.join(' ')}: ${stderr}`);
      assert.ok(error, `an error in the JSON of ${args.join(' ')}`);
      assert.match(stderr, error?.message ?? '');
      return error ?? { code: '', message: '' };
    },
  };
}
