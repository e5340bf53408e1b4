// SPDX-License-Identifier: Apache-2.0
/**
 * ls as a user meets it: what it says must be what the files say, whatever happens to the
 * index, to recorders and to folders.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { database, dirsOf, ls, prune, recordOn } from '../lib/catalog-commands.ts';
import { run, runJson } from '../lib/command.ts';
import { makeFakeVm } from '../lib/fake-recordings.ts';
import { writeCheckpoint } from '../lib/written-checkpoint.ts';

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
  const checkpoints = join(out, 'checkpoints');
  writeCheckpoint(checkpoints, { icount: 1000, parent: null });
  writeCheckpoint(checkpoints, { icount: 2000, parent: 1000 });
  writeFileSync(
    join(writeCheckpoint(checkpoints, { icount: 3000, parent: null }), 'manifest.json'),
    '{',
  );
  mkdirSync(join(checkpoints, '4000'));
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
