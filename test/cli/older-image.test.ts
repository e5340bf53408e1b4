// SPDX-License-Identifier: Apache-2.0
/**
 * Both sides of a pair are killed, with test/lib/fake-vm.c in QEMU's place: `primary` starts from the
 * newest image, and from another one only at the operator's word.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson, start } from '../lib/command.ts';
import { FakeVmPair, isAlive, sleep } from '../lib/fake-vm-pair.ts';

const older = suite('older image');

/** All that runs of it. */
async function killed(pair: FakeVmPair): Promise<void> {
  const all = await Promise.all(['primary', 'backup'].map((side) => pair.status(side)));
  await pair.end();
  // They die with their daemons.
  const deadline = Date.now() + 5000;
  while (all.some((one) => isAlive(one?.qemu_pid ?? 0)) && Date.now() < deadline) await sleep(20);
}

/** `understudy primary` from the image of one side. */
async function refusal(pair: FakeVmPair, side: string): Promise<string> {
  const words = ['primary', pair.toml(side), '--json'];
  const { code, json } = await runJson(words, { env: pair.env });
  const error = json.error as { code: string; message: string };
  assert.equal([code, error.code], [2, 'image-older'], error.message);
  return error.message;
}

/** It starts, as far as one can alone. */
async function accepted(pair: FakeVmPair, side: string, ...options: string[]): Promise<void> {
  const running = start(['primary', pair.toml(side), ...options], { env: pair.env });
  try {
    const { reason } = await pair.until('primary', (status) => status.state === 'starting');
    assert.match(reason, 'waiting for the backup');
  } finally {
    running.child.kill('SIGINT');
  }
  assert.is((await running.done).code, 0);
}

older('a protected pair: the primary has it, and the backup is told so', async () => {
  const pair = await FakeVmPair.make();
  await pair.startBoth();
  await killed(pair);
  const said = await refusal(pair, 'backup');
  assert.match(
    said,
    `disk image ${join(pair.dir, 'backup', 'disk.raw')} is not known to be the newest`,
  );
  assert.match(said, new RegExp(`followed term 1 .* image of primary ${pair.name} on `));
  assert.match(said, '`understudy primary --accept-older-image`');
  await accepted(pair, 'primary');
  await accepted(pair, 'backup', '--accept-older-image');
  // Nothing was powered on, so it is as it was.
  await refusal(pair, 'backup');
  await accepted(pair, 'primary');
});

older('after a take-over: the survivor has it', async () => {
  const pair = await FakeVmPair.make();
  const { primary } = await pair.startBoth();
  primary.child.kill('SIGKILL');
  await pair.until('backup', (status) => status.state === 'needs-backup');
  const mark = join(pair.dir, 'backup', 'disk.raw.generation');
  const deadline = Date.now() + 5000;
  const isLive = (): boolean => existsSync(mark) && /"live"/.test(readFileSync(mark, 'utf8'));
  while (!isLive() && Date.now() < deadline) await sleep(20);
  await killed(pair);
  assert.match(await refusal(pair, 'primary'), /it is of term 1; .* backup \S+ on .* with term 2/);
  await accepted(pair, 'backup');
});

older("powered on at the operator's word, an image is the newest", async () => {
  const pair = await FakeVmPair.make();
  await pair.startBoth();
  await killed(pair);
  // Their images are equal: this guest writes nothing.
  const words = ['primary', pair.toml('backup'), '--accept-older-image'];
  const primary = start(words, { env: pair.env });
  const backup = start(['backup', pair.toml('primary')], { env: pair.env });
  pair.running.push(primary, backup);
  await pair.until('primary', (status) => status.state === 'protected');
  await pair.until('backup', (status) => status.state === 'standby');
  await killed(pair);
  assert.match(await refusal(pair, 'primary'), /followed term 1/);
  await accepted(pair, 'backup');
});

older('a VM that was stopped starts from either side', async () => {
  const pair = await FakeVmPair.make();
  const { primary, backup } = await pair.startBoth();
  primary.child.kill('SIGINT');
  assert.equal([(await primary.done).code, (await backup.done).code], [0, 0]);
  await accepted(pair, 'primary');
  await accepted(pair, 'backup');
});

older('a mark that is damaged is named', async () => {
  const pair = await FakeVmPair.make();
  const mark = join(pair.dir, 'primary', 'disk.raw.generation');
  writeFileSync(mark, 'x');
  assert.match(await refusal(pair, 'primary'), `${mark} is damaged`);
});

older('--help has the option', async () => {
  const { stdout } = await run(['primary', '--help']);
  assert.match(stdout, '--accept-older-image');
});

older.run();
