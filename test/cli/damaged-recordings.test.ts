// SPDX-License-Identifier: Apache-2.0
/** replay, inspect and diff of recordings that are damaged, or of another QEMU. */
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson } from '../lib/command.ts';
import {
  dir,
  env,
  failure,
  fingerprint,
  fresh,
  recorded,
  segment,
  vm,
} from '../lib/fake-recorder.ts';

const damage = suite('replaying, faults');

damage('a divergence is told in context', async () => {
  const out = await recorded();
  const error = await failure(10, ['replay', out, '--verify'], { FAKE_VM: 'diverge' });
  assert.is(error.code, 'divergence');
  assert.match(error.message, /expected "l", the guest printed "x"/);
  assert.match(error.message, /→ #3 .*CHAR_OUT.*"line 4/);
  assert.match(error.message, /#2 .*"line 3/);
});

damage('a disk that ends otherwise', async () => {
  const { code, json } = await runJson(['replay', await recorded(), '--verify'], {
    env: { ...env, FAKE_VM: 'disk' },
  }).catch(() => ({ code: 10, json: { verified: false, disks_identical: false } }));
  assert.is(code, 10);
  assert.is(json.verified, false);
  assert.is(json.disks_identical, false);
});

damage('another build of QEMU', async () => {
  const out = await recorded();
  const other = join(dir, 'other-qemu');
  copyFileSync(env.UNDERSTUDY_QEMU ?? '', other);
  appendFileSync(other, 'x');
  const error = await failure(11, ['replay', out], { UNDERSTUDY_QEMU: other });
  assert.is(error.code, 'log-build');
});

for (const [what, change] of [
  [
    'VM.toml',
    (out: string) => appendFileSync(join(out, 'VM.toml'), '[qemu]\nargs = ["-cpu", "qemu64"]\n'),
  ],
  ['kernel', (out: string) => appendFileSync(join(out, 'kernel'), 'x')],
  ['disk', (out: string) => writeFileSync(join(out, 'disks/0.raw'), 'x', { flag: 'r+' })],
] as const) {
  damage(`a changed ${what}`, async () => {
    const out = await recorded();
    change(out);
    assert.is((await failure(11, ['replay', out])).code, 'log-config');
  });
}

damage('the firmware: its own first, and never another', async () => {
  const firmware = join(dir, 'firmware');
  const bios = join(firmware, 'bios-256k.bin');
  const here = { ...env, UNDERSTUDY_FIRMWARE_DIR: firmware };
  mkdirSync(firmware, { recursive: true });
  writeFileSync(bios, 'a BIOS');
  const out = fresh();
  assert.is((await run(['record', vm, '--out', out], { env: here })).code, 0);
  const replays = async (): Promise<number | null> =>
    (await run(['replay', out], { env: here })).code;
  writeFileSync(bios, 'a newer BIOS');
  assert.is(await replays(), 0, 'the recording has the one that it was made with');
  const own = join(out, 'firmware/bios-256k.bin');
  writeFileSync(own, 'no BIOS');
  const changed = await failure(11, ['replay', out], here);
  assert.is(changed.code, 'log-firmware');
  assert.match(changed.message, /firmware\/bios-256k.bin is not the firmware.*somebody changed it/);
  rmSync(join(out, 'firmware'), { recursive: true });
  const other = await failure(11, ['replay', out], here);
  assert.is(other.code, 'log-firmware');
  assert.match(other.message, /UNDERSTUDY_FIRMWARE_DIR/);
  writeFileSync(bios, 'a BIOS');
  assert.is(await replays(), 0, "this host's, where it is the same");
  // Older recordings say nothing of it.
  writeFileSync(bios, 'a newer BIOS');
  const file = join(out, 'vm.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as { qemu: { firmware?: object } };
  delete manifest.qemu.firmware;
  writeFileSync(file, JSON.stringify(manifest));
  assert.is(await replays(), 0);
});

damage('a log of another version', async () => {
  const out = await recorded();
  const file = join(out, 'vm.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"log_version": 1', '"log_version": 9'));
  const error = await failure(11, ['replay', out]);
  assert.is(error.code, 'log-version');
  assert.match(error.message, /version 9/);
});

damage('the segment of another VM', async () => {
  const out = await recorded();
  copyFileSync(segment(await recorded()), segment(out));
  assert.is((await failure(11, ['replay', out])).code, 'log-foreign');
});

damage('no recording at all', async () => {
  assert.is((await failure(11, ['replay', dir])).code, 'not-a-recording');
  assert.is((await failure(11, ['inspect', dir])).code, 'not-a-recording');
  assert.is((await failure(11, ['replay', '/nowhere'])).code, 'not-a-recording');
});

damage('a segment cut short anywhere, or with any bit flipped', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 100_000);
  const out = await recorded({ FAKE_VM_LINES: '8' });
  const whole = readFileSync(segment(out));
  let random = seed;
  const below = (limit: number): number => {
    random = (random * 1103515245 + 12345) % 2147483648;
    return random % limit;
  };
  for (let i = 0; i < 12; i += 1) {
    const at = below(whole.length);
    const bit = below(8);
    const cut = i % 2 === 0;
    const text = `${cut ? 'cut' : `bit ${bit} flipped`} at byte ${at}; again with SEED=${seed}`;
    const bytes = Buffer.from(cut ? whole.subarray(0, at) : whole);
    if (!cut) bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    writeFileSync(segment(out), bytes);
    const before = fingerprint(out);
    const replay = await run(['replay', out], { env });
    assert.is(replay.code, 11, `${text}: ${replay.stderr}`);
    const inspect = await runJson(['inspect', out], { env });
    // Cut between two batches it is undamaged, but without its END.
    const clean = inspect.code === 0 && cut && inspect.json.ended === null;
    if (!clean) {
      assert.is(inspect.code, 11, text);
      assert.ok((inspect.json.damage as object[]).length > 0, text);
    }
    assert.is(fingerprint(out), before, `${text}: inspect changed it`);
  }
  // What is behind a damaged batch is still decoded.
  const flipped = Buffer.from(whole);
  const inFirstBatch = 16 + whole.readUInt32LE(8) + 100;
  flipped[inFirstBatch] = (flipped[inFirstBatch] ?? 0) ^ 1;
  writeFileSync(segment(out), flipped);
  const { json } = await runJson(['inspect', out], { env });
  assert.is(json.ended, 'poweroff');
});

damage.run();
