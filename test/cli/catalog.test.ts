// SPDX-License-Identifier: Apache-2.0
/**
 * ls and prune as a user meets them: what they say must be what the files say,
 * whatever happens to the index, to recorders and to folders.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Running, run, runJson, start } from '../lib/command.ts';
import { type FakeVm, makeFakeVm } from '../lib/fake-recordings.ts';

interface Listed {
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

async function ls(vm: FakeVm, ...dirs: string[]): Promise<Listed[]> {
  const { code, json, stderr } = await runJson(['ls', ...dirs], { env: vm.env });
  assert.is(code, 0, stderr);
  return json.recordings as Listed[];
}

async function prune(vm: FakeVm, ...words: string[]): Promise<Record<string, unknown>> {
  const { code, json, stderr } = await runJson(['prune', ...words], { env: vm.env });
  assert.is(code, 0, stderr);
  return json;
}

const dirsOf = (value: unknown): string[] => (value as { dir: string }[]).map(({ dir }) => dir);
const database = (vm: FakeVm): string => join(vm.env.UNDERSTUDY_CATALOG_DIR ?? '', 'catalog.db');

/** A recording that goes on until it is stopped. */
async function recordOn(vm: FakeVm, out: string): Promise<Running> {
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

const list = suite('ls');

list('what was recorded, newest first, as end.json has it', async () => {
  const vm = makeFakeVm('ls');
  const first = await vm.record();
  const second = await vm.record({ FAKE_VM_LINES: '30' });
  const runs = await ls(vm);
  assert.equal(dirsOf(runs), [second, first]);
  for (const one of runs) {
    const end = JSON.parse(readFileSync(join(one.dir, 'end.json'), 'utf8'));
    const manifest = JSON.parse(readFileSync(join(one.dir, 'vm.json'), 'utf8'));
    assert.is(one.state, 'complete');
    assert.is(one.reason, null);
    assert.is(one.name, 'fake');
    assert.is(one.vm_id, manifest.vm_id);
    assert.is(one.created, manifest.created);
    assert.equal([one.icount, one.wall_s, one.digest], [end.icount, end.wall_s, end.digest]);
    assert.is(one.log_bytes, readFileSync(join(one.dir, 'log/000001.udl')).length);
    assert.equal([one.segments, one.digests, one.checkpoints], [1, 1, 0]);
    assert.ok(one.disk_bytes > one.log_bytes, 'blocks of all files');
    assert.ok(one.disk_bytes < 1 << 20, 'a hole takes no space');
  }
  const text = await run(['ls'], { env: vm.env });
  assert.match(text.stdout, first);
  assert.match(text.stdout, 'complete');
});

list('one that is being recorded, then one whose recorder was killed', async () => {
  const vm = makeFakeVm('killed');
  const out = vm.fresh();
  const running = await recordOn(vm, out);
  let [found] = await ls(vm);
  assert.is(found?.state, 'recording');
  assert.ok((found?.icount ?? 0) > 0, 'as far as its log goes');
  running.child.kill('SIGKILL');
  await running.done;
  [found] = await ls(vm);
  assert.is(found?.dir, out);
  assert.is(found?.state, 'incomplete');
  assert.is(found?.digest, null);
  const replay = await runJson(['replay', out], { env: vm.env });
  assert.is(replay.json.icount, found?.icount, 'what a replay reaches');
});

list('a recording that came to nothing is not listed', async () => {
  const vm = makeFakeVm('nothing');
  await vm.failure(1, ['record', vm.toml, '--out', vm.fresh()], { FAKE_VM: 'tap-busy' });
  assert.equal(await ls(vm), []);
  assert.match((await run(['ls'], { env: vm.env })).stderr, /no recording is known/);
});

list('a folder that vanished is missing, one that moved is found again', async () => {
  const vm = makeFakeVm('moved');
  const out = await vm.record();
  const [before] = await ls(vm);
  const moved = join(vm.dir, 'elsewhere');
  renameSync(out, moved);
  const [gone] = await ls(vm);
  assert.is(gone?.dir, out);
  assert.is(gone?.state, 'missing');
  assert.is(gone?.vm_id, before?.vm_id, 'what it was is still known');
  const { json, stderr } = await runJson(['ls', moved], { env: vm.env });
  assert.equal(dirsOf(json.recordings), [moved]);
  assert.match(stderr, `${out} has moved to ${moved}`);
  assert.equal(dirsOf(await ls(vm)), [moved]);
  rmSync(moved, { recursive: true });
  assert.is((await ls(vm))[0]?.state, 'missing');
  assert.equal((await prune(vm, '--missing')).forgotten, [moved]);
  assert.equal(await ls(vm), []);
});

list('folders that are given: recordings, folders of them, neither', async () => {
  const vm = makeFakeVm('given');
  const out = await vm.record();
  const other = { ...vm, env: { ...vm.env, UNDERSTUDY_CATALOG_DIR: join(vm.dir, 'other') } };
  assert.equal(await ls(other), []);
  assert.equal(dirsOf(await ls(other, vm.dir)), [out]);
  assert.equal(dirsOf(await ls(other)), [out], 'it is remembered');
  const nowhere = await vm.failure(11, ['ls', join(vm.dir, 'nowhere')]);
  assert.is(nowhere.code, 'not-a-recording');
  assert.match(nowhere.message, 'nowhere is not there');
  mkdirSync(join(vm.dir, 'empty'));
  assert.match((await vm.failure(11, ['ls', join(vm.dir, 'empty')])).message, /has none in it/);
});

list('damage and missing files are found, and named', async () => {
  const vm = makeFakeVm('damage');
  const [log, disk, end, json] = [
    await vm.record(),
    await vm.record(),
    await vm.record(),
    await vm.record(),
  ];
  const file = join(log, 'log/000001.udl');
  const bytes = readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(2000) ^ 1, 2000);
  writeFileSync(file, bytes);
  rmSync(join(disk, 'disks/0.raw'));
  const whole = readFileSync(join(end, 'log/000001.udl'));
  writeFileSync(join(end, 'log/000001.udl'), whole.subarray(0, 1000));
  writeFileSync(join(json, 'vm.json'), '{');
  const by = new Map((await ls(vm)).map((one) => [one.dir, one]));
  assert.is(by.get(log)?.state, 'damaged');
  assert.match(by.get(log)?.reason ?? '', /000001\.udl at byte/);
  assert.is(by.get(disk)?.state, 'missing-files');
  assert.match(by.get(disk)?.reason ?? '', 'disks/0.raw');
  assert.is(by.get(end)?.state, 'damaged');
  assert.match(by.get(end)?.reason ?? '', /ends before end\.json/);
  assert.is(by.get(json)?.state, 'damaged');
  assert.match(by.get(json)?.reason ?? '', 'vm.json');
});

list(
  'a log that does not begin at power-on lacks its first segment, unless so retained',
  async () => {
    const vm = makeFakeVm('late');
    const out = await vm.record();
    renameSync(join(out, 'log', '000001.udl'), join(out, 'log', '000003.udl'));
    const [lacking] = await ls(vm);
    assert.is(lacking?.state, 'missing-files');
    assert.match(String(lacking?.reason), 'log/000001.udl');
    const retained = { format: 1, from_icount: '1', from_segment: 2, console_from: 0 };
    writeFileSync(join(out, 'retained.json'), JSON.stringify(retained));
    assert.match(String((await ls(vm))[0]?.reason), 'log/000002.udl');
    writeFileSync(join(out, 'retained.json'), '{"format":1}');
    const [broken] = await ls(vm);
    assert.match(String(broken?.reason), /retained\.json is damaged/);
  },
);

list('checkpoints, where there are some', async () => {
  const vm = makeFakeVm('checkpoints');
  const out = await vm.record();
  const write = (icount: string, text: string): void => {
    mkdirSync(join(out, 'checkpoints', icount), { recursive: true });
    writeFileSync(join(out, 'checkpoints', icount, 'manifest.json'), text);
  };
  const manifest = { icount: 1000, vtime_ns: 2000, ordinal: 3, kind: 'full', parent: null };
  const more = { bytes: 10, digest: 'ab', created_at: '2026-01-01T00:00:00Z' };
  write('1000', JSON.stringify({ ...manifest, ...more }));
  write('2000', JSON.stringify({ ...manifest, ...more, icount: '2000', parent: 1000 }));
  write('3000', '{"icount"');
  mkdirSync(join(out, 'checkpoints', '4000'));
  assert.is((await ls(vm))[0]?.checkpoints, 2, 'those that are whole');
});

list.run();

const index = suite('the index');

for (const [what, breakIt, said] of [
  ['is lost', (path: string) => rmSync(path), /there was none/],
  ['is another file', (path: string) => writeFileSync(path, 'x'.repeat(9000)), /not a database/],
  [
    'has a torn page',
    (path: string) => {
      const bytes = readFileSync(path);
      bytes.fill(0xa5, 4096, 3 * 4096);
      writeFileSync(path, bytes);
    },
    /malformed|invalid|Tree/,
  ],
  [
    'is of another version',
    (path: string) => {
      const db = new Database(path);
      db.pragma('user_version = 99');
      db.close();
    },
    /version 99/,
  ],
  [
    'has no tables',
    (path: string) => {
      const db = new Database(path);
      db.exec('DROP TABLE digests');
      db.close();
    },
    /not the tables/,
  ],
] as const) {
  index(`that ${what} is made anew from the files, and that is said`, async () => {
    const vm = makeFakeVm(`rebuild that ${what}`);
    await vm.record();
    await vm.record();
    const before = await ls(vm);
    assert.is(before.length, 2);
    breakIt(database(vm));
    const { json, stderr } = await runJson(['ls'], { env: vm.env });
    assert.equal(json.recordings, before);
    assert.match(stderr, /made anew/);
    assert.match(stderr, said);
    const again = await runJson(['ls'], { env: vm.env });
    assert.equal(again.json.recordings, before);
    assert.is(again.stderr, '', 'once');
  });
}

index('that cannot be written never fails a recording', async () => {
  const vm = makeFakeVm('unwritable');
  const out = vm.fresh();
  // Where nothing can be made, and where Node's mkdir -p does not return.
  const env = { ...vm.env, UNDERSTUDY_CATALOG_DIR: '/proc/nowhere/catalog' };
  const { code, stderr } = await run(['record', vm.toml, '--out', out], { env });
  assert.is(code, 0, stderr);
  assert.is(stderr.match(/not in the list of `understudy ls`/g)?.length, 1, 'a warning, once');
  const error = await vm.failure(1, ['ls'], { UNDERSTUDY_CATALOG_DIR: '/proc/nowhere/catalog' });
  assert.is(error.code, 'catalog-unusable');
  assert.match(error.message, '/proc/nowhere');
  assert.is((await vm.failure(2, ['ls'], { UNDERSTUDY_CATALOG_DIR: 'off' })).code, 'usage');
});

index('is right with several recorders and readers at once', async () => {
  const vm = makeFakeVm('concurrent');
  const outs = [vm.fresh(), vm.fresh(), vm.fresh(), vm.fresh(), vm.fresh()];
  const recorders = await Promise.all(outs.map((out) => recordOn(vm, out)));
  const during = await Promise.all([ls(vm), ls(vm), ls(vm)]);
  for (const seen of during) {
    assert.equal(dirsOf(seen).sort(), [...outs].sort());
    assert.ok(seen.every(({ state }) => state === 'recording'));
  }
  for (const { child } of recorders) child.kill('SIGINT');
  const stop = Promise.all(recorders.map(({ done }) => done));
  const racing = await Promise.all([ls(vm), ls(vm)]);
  for (const seen of racing) assert.is(seen.length, outs.length);
  for (const { code, stderr } of await stop) {
    assert.is(code, 0, stderr);
    assert.not.match(stderr, 'warning', stderr);
  }
  const after = await ls(vm);
  assert.ok(after.every(({ state, digests }) => state === 'complete' && digests === 1));
});

index('that breaks under several readers is made anew, once at a time', async () => {
  const vm = makeFakeVm('broken-by-many');
  const outs = [await vm.record(), await vm.record(), await vm.record()];
  for (let round = 0; round < 3; round += 1) {
    writeFileSync(database(vm), 'nonsense'.repeat(1000));
    const seen = await Promise.all([ls(vm), ls(vm), ls(vm), ls(vm)]);
    for (const one of seen) assert.equal(dirsOf(one).sort(), [...outs].sort());
  }
});

index.run();

const pruning = suite('prune');

pruning('asks for a criterion, and for values that are some', async () => {
  const vm = makeFakeVm('criteria');
  const error = await vm.failure(2, ['prune']);
  assert.is(error.code, 'usage');
  for (const option of ['--keep', '--older-than', '--larger-than', '--missing']) {
    assert.match(error.message, option);
  }
  for (const words of [
    ['--keep', '-1'],
    ['--older-than', '30'],
    ['--larger-than', 'big'],
  ]) {
    assert.is((await run(['prune', ...words], { env: vm.env })).code, 2, words.join(' '));
  }
});

pruning('by count, by age, by size; the oldest first', async () => {
  const vm = makeFakeVm('prune');
  const [a, b, c, d] = [await vm.record(), await vm.record(), await vm.record(), await vm.record()];
  const dry = await prune(vm, '--keep', '3', '--dry-run');
  assert.equal(dirsOf(dry.deleted), [a]);
  assert.ok(existsSync(a), 'a dry run deletes nothing');
  assert.is((await ls(vm)).length, 4);
  assert.equal(dirsOf((await prune(vm, '--keep', '3')).deleted), [a]);
  assert.not.ok(existsSync(a));
  assert.equal(dirsOf(await ls(vm)), [d, c, b]);

  const manifest = join(c, 'vm.json');
  const old = new Date(Date.now() - 31 * 86_400_000).toISOString();
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace(/"created": "[^"]*"/, `"created": "${old}"`));
  assert.equal(dirsOf((await prune(vm, '--older-than', '30d')).deleted), [c]);

  const sizes = new Map((await ls(vm)).map((one) => [one.dir, one.disk_bytes]));
  const limit = String((sizes.get(b) ?? 0) + (sizes.get(d) ?? 0) - 1);
  assert.equal(dirsOf((await prune(vm, '--larger-than', limit)).deleted), [b]);
  assert.equal(dirsOf((await prune(vm, '--larger-than', limit)).deleted), []);
  assert.equal(dirsOf(await ls(vm)), [d]);
  const names = readdirSync(vm.dir).filter((name) => name.includes('pruned'));
  assert.equal(names, [], 'nothing is left over');
});

pruning('leaves one that is being recorded, and says so', async () => {
  const vm = makeFakeVm('prune-recording');
  const out = vm.fresh();
  const running = await recordOn(vm, out);
  const idle = await vm.record();
  const result = await prune(vm, '--keep', '0');
  assert.equal(dirsOf(result.deleted), [idle]);
  assert.equal(dirsOf(result.skipped), [out]);
  assert.match(JSON.stringify(result.skipped), new RegExp(`in use by .*${running.child.pid}`));
  running.child.kill('SIGINT');
  assert.is((await running.done).code, 0);
  assert.is((await run(['replay', out, '--verify'], { env: vm.env })).code, 0);
  assert.equal(dirsOf((await prune(vm, '--keep', '0')).deleted), [out]);
});

pruning('leaves one that is being replayed, by several', async () => {
  const vm = makeFakeVm('prune-replay');
  const out = await vm.record();
  // The fake one freezes, so that the replays last until they are ended.
  const env = { ...vm.env, FAKE_VM: 'freeze', UNDERSTUDY_HANG_TIMEOUT_MS: '60000' };
  const replays = [
    start(['replay', out, '--console'], { env }),
    start(['replay', out, '--console'], { env }),
  ];
  await Promise.all(replays.map((one) => one.printed('line 1\n')));
  const result = await prune(vm, '--keep', '0');
  assert.equal(dirsOf(result.deleted), []);
  assert.equal(dirsOf(result.skipped), [out]);
  for (const { child, done } of replays) {
    child.kill('SIGINT');
    await done;
  }
  assert.is((await run(['replay', out, '--verify'], { env: vm.env })).code, 0);
});

pruning('leaves what is not of the recording', async () => {
  const vm = makeFakeVm('prune-other');
  const out = await vm.record();
  const inner = join(out, 'inner');
  await run(['record', vm.toml, '--out', inner], { env: vm.env });
  const { code, json } = await runJson(['prune', '--keep', '1'], { env: vm.env });
  assert.is(code, 1);
  assert.match(JSON.stringify(json.skipped), /more in it than a recording \(inner\)/);
  assert.ok(existsSync(join(inner, 'end.json')));
});

pruning('finishes what a prune that was killed has begun', async () => {
  const vm = makeFakeVm('prune-killed');
  const out = await vm.record();
  await vm.record();
  renameSync(out, join(vm.dir, '.rec-1.pruned-1'));
  await prune(vm, '--keep', '5');
  assert.not.ok(existsSync(join(vm.dir, '.rec-1.pruned-1')));
});

pruning.run();
