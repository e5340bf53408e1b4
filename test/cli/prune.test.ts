// SPDX-License-Identifier: Apache-2.0
/** prune as a user meets it: what goes, what stays, and what is never touched. */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dirsOf, ls, prune, recordOn } from '../lib/catalog-commands.ts';
import { run, runJson, start } from '../lib/command.ts';
import { makeFakeVm } from '../lib/fake-recordings.ts';

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
