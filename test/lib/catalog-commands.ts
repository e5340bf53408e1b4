// SPDX-License-Identifier: Apache-2.0
/** ls and prune as commands, and a recorder that goes on. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Running, runJson, start } from './command.ts';
import type { FakeVm } from './fake-recordings.ts';

export interface Listed {
  readonly dir: string;
  readonly state: string;
  readonly reason: string | null;
  readonly name: string | null;
  readonly vm_id: string;
  readonly created: string;
  readonly icount: number;
  readonly wall_s: number;
  readonly log_bytes: number;
  readonly disk_bytes: number;
  readonly digest: string | null;
  readonly digests: number;
  readonly checkpoints: number;
  readonly segments: number;
}

export async function ls(vm: FakeVm, ...dirs: string[]): Promise<Listed[]> {
  const { code, json, stderr } = await runJson(['ls', ...dirs], { env: vm.env });
  assert.is(code, 0, stderr);
  return json.recordings as Listed[];
}

export async function prune(vm: FakeVm, ...words: string[]): Promise<Record<string, unknown>> {
  const { code, json, stderr } = await runJson(['prune', ...words], { env: vm.env });
  assert.is(code, 0, stderr);
  return json;
}

export const dirsOf = (value: unknown): string[] =>
  (value as { dir: string }[]).map(({ dir }) => dir);
export const database = (vm: FakeVm): string =>
  join(vm.env.UNDERSTUDY_CATALOG_DIR ?? '', 'catalog.db');

/** A recording that goes on until it is stopped. */
export async function recordOn(vm: FakeVm, out: string): Promise<Running> {
  const image = `${out}.raw`;
  cpSync(vm.disk, image);
  const toml = `${out}.toml`;
  writeFileSync(toml, `name = "fake"\nkernel = "kernel"\n[[disk]]\nimage = "${image}"\n`);
  const running = start(['record', toml, '--out', out], {
    env: { ...vm.env, FAKE_VM_LINES: '0' },
  });
  await running.printed('line 5\n');
  return running;
}
