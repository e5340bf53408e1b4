// SPDX-License-Identifier: Apache-2.0
/** pack and unpack as a user meets them. What a packed file may hold: test/unit/pack.test.ts. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson, start } from '../lib/command.ts';
import { makeFakeVm } from '../lib/fake-recordings.ts';

const GIB = 2 ** 30;
const packing = suite('pack');

packing(
  'a recording with a mostly empty 1 GiB disk: small, and replays from the copy',
  async () => {
    const vm = makeFakeVm('round-trip', GIB);
    const noise = randomBytes(100_000);
    execFileSync('dd', [`of=${vm.disk}`, 'bs=1', 'seek=700000000', 'conv=notrunc', 'status=none'], {
      input: noise,
    });
    const out = await vm.record();
    mkdirSync(join(out, 'checkpoints/5000'), { recursive: true });
    writeFileSync(join(out, 'checkpoints/5000/manifest.json'), '{}');
    const file = join(vm.dir, 'run.udpack');
    const packed = await runJson(['pack', out, '--out', file], { env: vm.env });
    assert.is(packed.code, 0, packed.stderr);
    assert.is(packed.json.packed_bytes, statSync(file).size);
    assert.ok(statSync(file).size < 150_000, `${statSync(file).size} bytes`);

    const elsewhere = join(vm.dir, 'elsewhere');
    mkdirSync(elsewhere);
    const env = { ...vm.env, UNDERSTUDY_CATALOG_DIR: join(elsewhere, 'catalog') };
    const unpacked = await runJson(['unpack', file], { env, cwd: elsewhere });
    assert.is(unpacked.code, 0, unpacked.stderr);
    const copy = join(elsewhere, 'run');
    assert.is(unpacked.json.dir, copy);
    execFileSync('diff', ['-r', out, copy]);
    assert.ok(statSync(join(copy, 'disks/0.raw')).blocks * 512 < 200_000, 'holes are holes');
    rmSync(out, { recursive: true });
    const replay = await runJson(['replay', copy, '--verify'], { env });
    assert.is(replay.code, 0, replay.stderr);
    assert.is(replay.json.verified, true);
    const list = await runJson(['ls'], { env });
    assert.equal(
      (list.json.recordings as { dir: string; state: string }[]).map(({ dir, state }) => [
        dir,
        state,
      ]),
      [[copy, 'complete']],
    );
  },
);

packing('a recording of which the recorder was killed', async () => {
  const vm = makeFakeVm('pack-killed');
  const out = vm.fresh();
  await vm.failure(1, ['record', vm.toml, '--out', out], { FAKE_VM: 'die' });
  const file = join(vm.dir, 'x.udpack');
  assert.is((await run(['pack', out, '-o', file], { env: vm.env })).code, 0);
  const copy = vm.fresh();
  assert.is((await run(['unpack', file, '-o', copy], { env: vm.env })).code, 0);
  const [a, b] = [
    await runJson(['replay', out], { env: vm.env }),
    await runJson(['replay', copy], { env: vm.env }),
  ];
  assert.is(b.json.icount, a.json.icount);
  assert.is(b.json.stopped_at, 'horizon');
});

packing('refuses what would not replay, and leaves no file', async () => {
  const vm = makeFakeVm('pack-damage');
  const file = join(vm.dir, 'x.udpack');
  const good = await vm.record();
  for (const [code, change] of [
    [
      'log-corrupt',
      (out: string) => writeFileSync(join(out, 'log/000001.udl'), 'x', { flag: 'r+' }),
    ],
    ['log-truncated', (out: string) => truncateSync(join(out, 'log/000001.udl'), 3000)],
    ['log-config', (out: string) => writeFileSync(join(out, 'disks/0.raw'), 'x', { flag: 'r+' })],
    ['not-a-recording', (out: string) => rmSync(join(out, 'disks/0.raw'))],
    ['not-a-recording', (out: string) => rmSync(join(out, 'console.log'))],
    ['not-a-recording', (out: string) => rmSync(join(out, 'vm.json'))],
  ] as const) {
    const out = vm.fresh();
    cpSync(good, out, { recursive: true });
    change(out);
    assert.is((await vm.failure(11, ['pack', out, '--out', file])).code, code);
    assert.not.ok(existsSync(file));
  }
  assert.equal(
    readdirSync(vm.dir).filter((name) => name.includes('partial')),
    [],
  );
});

packing('refuses one that is being recorded, and a file that exists', async () => {
  const vm = makeFakeVm('pack-refuses');
  const out = vm.fresh();
  const running = start(['record', vm.toml, '--out', out], {
    env: { ...vm.env, FAKE_VM_LINES: '0' },
  });
  await running.printed('line 3\n');
  const file = join(vm.dir, 'x.udpack');
  const busy = await vm.failure(1, ['pack', out, '--out', file]);
  assert.is(busy.code, 'recording-in-use');
  running.child.kill('SIGINT');
  assert.is((await running.done).code, 0);
  writeFileSync(file, 'mine');
  assert.is((await vm.failure(1, ['pack', out, '--out', file])).code, 'output-exists');
  assert.is(readFileSync(file, 'utf8'), 'mine');
});

packing('unpack: damage, a target that exists, no such file, no name', async () => {
  const vm = makeFakeVm('unpack-refuses');
  const out = await vm.record();
  const file = join(vm.dir, 'x.udpack');
  assert.is((await run(['pack', out, '-o', file], { env: vm.env })).code, 0);
  assert.is((await vm.failure(1, ['unpack', file, '--out', out])).code, 'output-exists');
  const bytes = readFileSync(file);
  const at = bytes.indexOf('"path":"log/000001.udl"') + 100;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at);
  writeFileSync(file, bytes);
  const target = vm.fresh();
  const damage = await vm.failure(11, ['unpack', file, '--out', target]);
  assert.is(damage.code, 'pack-corrupt');
  assert.match(damage.message, 'member log/000001.udl');
  assert.not.ok(existsSync(target));
  assert.is((await vm.failure(1, ['unpack', join(vm.dir, 'no.udpack')])).code, 'file-io');
  const nameless = await vm.failure(2, ['unpack', vm.toml]);
  assert.match(nameless.message, '--out');
});

packing('a full disk while packing or unpacking leaves nothing', async () => {
  const vm = makeFakeVm('pack-full', 32 << 20);
  writeFileSync(vm.disk, randomBytes(8 << 20), { flag: 'r+' });
  const out = await vm.record();
  const file = join(vm.dir, 'x.udpack');
  assert.is((await run(['pack', out, '-o', file], { env: vm.env })).code, 0);
  const small = join(vm.dir, 'small');
  mkdirSync(small);
  const inSmall = (...args: string[]) =>
    run(args, {
      env: vm.env,
      prefix: [
        ...['unshare', '--mount', 'sh', '-c'],
        `mount -t tmpfs -o size=4m none "${small}" && "$@"; code=$?; ls -A "${small}"; exit $code`,
        'sh',
      ],
    });
  for (const words of [
    ['pack', out, '-o', join(small, 'y.udpack')],
    ['unpack', file, '-o', join(small, 'y')],
  ]) {
    const { code, stdout, stderr } = await inSmall(...words);
    assert.is(code, 1, stderr);
    assert.match(stderr, /no space left|free, the recording needs/);
    assert.is(stdout, '', 'nothing is left of it');
  }
});

packing.run();
