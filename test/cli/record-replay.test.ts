// SPDX-License-Identifier: Apache-2.0
/**
 * record, replay, inspect and diff as a user meets them, with test/lib/fake-vm.c
 * in QEMU's place: contracts of `--json`, faults while recording, usage.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { childOf } from '../lib/child-of.ts';
import { command, run, runJson, start } from '../lib/command.ts';
import { dir, env, failure, fingerprint, fresh, recorded, vm } from '../lib/fake-recorder.ts';
import { openToOthers, withoutUmask } from '../lib/modes.ts';

const good = suite('a recording');

good('replays with the same digest, console and disks', async () => {
  const out = fresh();
  const record = await runJson(['record', vm, '--out', out], { env });
  assert.is(record.code, 0, record.stderr);
  for (const key of ['icount', 'wall_s', 'records', 'log_bytes']) {
    assert.type(record.json[key], 'number', key);
  }
  assert.match(String(record.json.digest), /^[0-9a-f]{64}$/);
  assert.is(record.json.reason, 'poweroff');
  const before = fingerprint(out);
  const replay = await runJson(['replay', out, '--verify'], { env });
  assert.is(replay.code, 0, replay.stderr);
  assert.is(replay.json.verified, true);
  assert.is(replay.json.disks_identical, true);
  assert.is(replay.json.console_identical, true);
  assert.is(replay.json.digest, record.json.digest);
  assert.is(replay.json.icount, record.json.icount);
  assert.type(replay.json.wall_s, 'number');
  await run(['inspect', out, '--records'], { env });
  assert.is(fingerprint(out), before, 'nothing wrote into it');
});

good("is its owner's alone, whatever the shell's umask", async () => {
  const out = await withoutUmask(() => recorded());
  assert.ok(readdirSync(out, { recursive: true }).length > 5);
  assert.equal(openToOthers(out), []);
});

good('replays where it was moved to, without the originals', async () => {
  const out = await recorded();
  const moved = fresh();
  cpSync(out, moved, { recursive: true });
  rmSync(out, { recursive: true });
  assert.is((await runJson(['replay', moved, '--verify'], { env })).json.verified, true);
});

good('has what was typed through a pipe, and says it back', async () => {
  const out = fresh();
  const running = start(['record', vm, '--out', out], { env: { ...env, FAKE_VM_LINES: '0' } });
  await running.printed('line 3\n');
  running.child.stdin?.write('hello guest\n');
  await running.printed('hello guest\n');
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.done;
  assert.is(code, 0, stderr);
  assert.is(stdout, readFileSync(join(out, 'console.log'), 'latin1'), 'stdout is the console');
  assert.is(JSON.parse(readFileSync(join(out, 'end.json'), 'utf8')).reason, 'stop');
  const replay = await runJson(['replay', out, '--verify'], { env });
  assert.is(replay.json.verified, true);
  const list = await runJson(['inspect', out, '--kind', 'char_in'], { env });
  const [typed] = list.json.list as Array<{ payload: string }>;
  assert.is(Buffer.from(typed?.payload ?? '', 'base64').toString(), 'hello guest\n');
});

good('is inspected: summary, kinds, range', async () => {
  const out = await recorded();
  const { code, json } = await runJson(['inspect', out], { env });
  assert.is(code, 0);
  assert.is(json.records, 22);
  assert.is(json.ended, 'poweroff');
  assert.equal(json.damage, []);
  assert.equal(Object.keys(json.by_kind as object), ['CHAR_OUT', 'DIGEST', 'END']);
  const some = await runJson(['inspect', out, '--from', '8000', '--to', '12e3'], { env });
  assert.equal(
    (some.json.list as Array<{ icount: number }>).map(({ icount }) => icount),
    [8000, 12000],
  );
  const text = await run(['inspect', out], { env });
  assert.match(text.stdout, /CHAR_OUT/);
  assert.match(text.stdout, /the guest powered off/);
  const kind = await failure(2, ['inspect', out, '--kind', 'char_ou']);
  assert.match(kind.message, /CHAR_OUT/);
});

good('differs from another, at a record', async () => {
  const a = await recorded({ FAKE_VM_LINES: '5' });
  const b = await recorded({ FAKE_VM_LINES: '6' });
  assert.is((await runJson(['diff', a, a], { env })).json.identical, true);
  const { code, json } = await runJson(['diff', a, b], { env });
  assert.is(code, 1);
  assert.is(json.identical, false);
  assert.is(json.records_same, 5);
  const text = await run(['diff', a, b], { env });
  assert.match(text.stdout, /5 records are the same/);
  assert.match(text.stdout, /DIGEST/);
});

good('--retain without a value, and what it says of a VM that is too large', async () => {
  const out = fresh();
  const record = await run(['record', vm, '--out', out, '--retain'], { env });
  assert.is(record.code, 0, record.stderr);
  assert.not.match(record.stderr, /warning/);
  assert.is((await runJson(['replay', out, '--verify'], { env })).json.verified, true);
  const large = join(dir, 'large.toml');
  writeFileSync(large, 'name = "large"\nkernel = "kernel"\nmemory = "1G"\n');
  const warned = await run(['record', large, '--out', fresh(), '--retain'], { env });
  assert.is(warned.code, 0, warned.stderr);
  assert.match(warned.stderr, /warning: .*its memory.* with 1 GB it may take more/);
  const greedy = await run(['record', '--retain', vm, '--out', fresh()], { env });
  assert.is(greedy.code, 2);
  assert.match(greedy.stderr, /without any it must come last/);
});

good('stops at --until', async () => {
  const out = await recorded();
  const { code, json } = await runJson(['replay', out, '--until', '8000'], { env });
  assert.is(code, 0);
  assert.is(json.stopped_at === 'until' || json.stopped_at === 'end', true);
});

good.run();

const faults = suite('recording, faults');

faults('a folder that has something in it', async () => {
  const out = await recorded();
  const error = await failure(1, ['record', vm, '--out', out]);
  assert.is(error.code, 'output-exists');
  assert.match(error.message, out);
});

faults('a bad VM.toml, as JSON', async () => {
  const bad = join(dir, 'bad.toml');
  writeFileSync(bad, 'name = "x"\nkernal = "kernel"');
  const error = await failure(2, ['record', bad, '--out', fresh()]);
  assert.is(error.code, 'config-unknown-key');
  assert.match(error.message, /"kernal".*"kernel"/);
});

for (const [fault, code, exit] of [
  ['tap-busy', 'tap-in-use', 1],
  ['lock', 'image-in-use', 1],
  ['unpatched', 'qemu-unpatched', 13],
] as const) {
  faults(`QEMU cannot start: ${fault}`, async () => {
    const out = fresh();
    const error = await failure(exit, ['record', vm, '--out', out], { FAKE_VM: fault });
    assert.is(error.code, code);
    assert.not.ok(existsSync(out), 'no folder is left of a VM that never ran');
  });
}

faults('no QEMU', async () => {
  const error = await failure(13, ['record', vm, '--out', fresh()], {
    UNDERSTUDY_QEMU: '/nowhere/qemu',
  });
  assert.is(error.code, 'qemu-missing');
  assert.match(error.message, '/nowhere/qemu');
});

faults('a tap that is not there', async () => {
  const file = join(dir, 'tap.toml');
  writeFileSync(file, 'name = "x"\nkernel = "kernel"\n[[nic]]\ntap = "us-no-tap"');
  const error = await failure(2, ['record', file, '--out', fresh()]);
  assert.is(error.code, 'tap-missing');
  assert.match(error.message, /us-no-tap/);
});

faults('the same disk twice at a time', async () => {
  const first = start(['record', vm, '--out', fresh()], { env: { ...env, FAKE_VM_LINES: '0' } });
  await first.printed('line 1\n');
  const error = await failure(1, ['record', vm, '--out', fresh()]);
  assert.is(error.code, 'image-in-use');
  assert.match(error.message, String(first.child.pid), 'names who has it');
  first.child.kill('SIGINT');
  assert.is((await first.done).code, 0);
});

faults('QEMU dies: readable up to there, and replays up to there', async () => {
  const out = fresh();
  const error = await failure(1, ['record', vm, '--out', out], { FAKE_VM: 'die' });
  assert.is(error.code, 'qemu-died');
  assert.match(error.message, /SIGKILL/);
  assert.match(error.message, /readable up to icount/);
  const inspect = await runJson(['inspect', out], { env });
  assert.is(inspect.code, 0);
  assert.is(inspect.json.ended, null);
  const replay = await runJson(['replay', out], { env });
  assert.is(replay.code, 0, replay.stderr);
  assert.is(replay.json.stopped_at, 'horizon');
  const verify = await run(['replay', out, '--verify'], { env });
  assert.is(verify.code, 11);
  assert.match(verify.stderr, /no END/);
});

for (const fault of ['freeze', 'spin'] as const) {
  faults(`QEMU hangs: ${fault}`, async () => {
    const error = await failure(1, ['record', vm, '--out', fresh()], { FAKE_VM: fault });
    assert.is(error.code, 'qemu-hung');
  });
}

faults('two Ctrl-C end also a frozen VM', async () => {
  const running = start(['record', vm, '--out', fresh()], {
    env: { ...env, FAKE_VM: 'freeze', UNDERSTUDY_HANG_TIMEOUT_MS: '60000' },
  });
  await running.printed('line 4\n');
  await new Promise((resolve) => setTimeout(resolve, 300)); // it freezes soon after
  running.child.kill('SIGINT');
  setTimeout(() => running.child.kill('SIGINT'), 300);
  const { code, stderr } = await running.done;
  assert.is(code, 1);
  assert.match(stderr, /killed/);
});

faults('the recorder is killed: QEMU dies with it', async () => {
  const out = fresh();
  const running = start(['record', vm, '--out', out], { env: { ...env, FAKE_VM_LINES: '0' } });
  await running.printed('line 9\n');
  const qemu = childOf(running.child.pid, 'fake-vm');
  running.child.kill('SIGKILL');
  await running.done;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.not.ok(existsSync(`/proc/${qemu}/exe`), 'QEMU is gone');
  const replay = await runJson(['replay', out], { env });
  assert.is(replay.json.stopped_at, 'horizon', replay.stderr);
});

faults('Ctrl-C at any moment: no folder, or a good recording', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 100_000);
  for (let i = 0; i < 10; i += 1) {
    const out = fresh();
    const delayMs = ((seed + i * 7919) % 900) + 1;
    const running = start(['record', vm, '--out', out], { env: { ...env, FAKE_VM_LINES: '0' } });
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    running.child.kill('SIGINT');
    const { code, signal, stderr } = await running.done;
    const text = `SIGINT after ${delayMs} ms; again with SEED=${seed}: ${stderr}`;
    // Node itself dies of it before our handler is there.
    assert.ok(signal === 'SIGINT' || code === 0 || code === 1, text);
    if (!existsSync(out)) continue;
    assert.is(code, 0, text);
    assert.is((await run(['replay', out, '--verify'], { env })).code, 0, text);
  }
});

faults('a full disk: output stops, the recording up to there is good', async () => {
  const mount = join(dir, 'small');
  mkdirSync(mount);
  const script = 'mount -t tmpfs -o size=4m none "$1" && shift && exec "$@"';
  const words = ['--mount', 'sh', '-c', script, 'sh', mount, process.execPath, command];
  const out = join(mount, 'rec');
  const keep = join(dir, 'kept');
  const inner = `"$@"; code=$?; cp -r ${out} ${keep}; exit $code`;
  let stderr = '';
  let code = 0;
  try {
    execFileSync(
      'unshare',
      [
        ...words.slice(0, 6),
        'sh',
        '-c',
        inner,
        'sh',
        ...words.slice(6),
        'record',
        vm,
        '--out',
        out,
      ],
      { env: { ...process.env, ...env, FAKE_VM: 'flood' }, stdio: ['ignore', 'ignore', 'pipe'] },
    );
  } catch (error) {
    const failed = error as { status: number; stderr: Buffer };
    code = failed.status;
    stderr = failed.stderr.toString();
  }
  assert.is(code, 1, stderr);
  assert.match(stderr, /no space left/);
  assert.match(stderr, /readable up to icount/);
  const console = readFileSync(join(keep, 'console.log'));
  const inspect = await runJson(['inspect', keep], { env });
  const kinds = inspect.json.by_kind as Record<string, { bytes: number }>;
  assert.ok(console.length <= (kinds.CHAR_OUT?.bytes ?? 0), 'what left was in the log');
});

faults.run();

const usage = suite('usage');

usage('help of each command, without a QEMU', async () => {
  for (const name of ['record', 'replay', 'inspect', 'diff']) {
    const { code, stdout } = await run([name, '--help'], { env: { UNDERSTUDY_QEMU: '/nowhere' } });
    assert.is(code, 0);
    assert.match(stdout, `Usage: understudy ${name}`);
    assert.match(stdout, '--json');
  }
});

usage('what is not understood is 2', async () => {
  assert.is((await run(['record', vm])).code, 2);
  assert.is((await run(['replay'])).code, 2);
  assert.is((await run(['replay', dir, '--frmo', '1'])).code, 2);
  assert.is((await run(['replay', dir, '--until', 'soon'])).code, 2);
});

usage.run();
