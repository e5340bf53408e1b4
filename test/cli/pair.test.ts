// SPDX-License-Identifier: Apache-2.0
/**
 * primary, backup, status, promote and stop as a user meets them, with
 * test/lib/fake-vm.c in QEMU's place: the ordinary course, and each way to end it.
 */

import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson } from '../lib/command.ts';
import { ask, FakeVmPair, isAlive, sleep } from '../lib/fake-vm-pair.ts';
import { openToOthers, withoutUmask } from '../lib/modes.ts';

const course = suite('pair');

course('protected, SIGKILL of the primary, the backup goes on; stop', async () => {
  const pair = await FakeVmPair.make();
  const { primary, backup } = await pair.startBoth();
  const well = await run(['status', pair.name], { env: pair.env });
  assert.is(well.code, 0, well.stdout);
  const before = await pair.status('primary');
  primary.child.kill('SIGKILL');
  const live = await pair.until('backup', (status) => status.state === 'needs-backup');
  assert.is(live.term, 2);
  for (const step of ['detect_ms', 'fence_ms', 'drain_ms', 'golive_ms', 'total_ms']) {
    assert.type(live.failover?.[step], 'number', step);
  }
  assert.ok((live.failover?.total_ms ?? 1e9) < 1000);
  assert.not.ok(isAlive(before?.qemu_pid ?? 0), "the primary's QEMU is gone");
  assert.is((await run(['status', pair.name], { env: pair.env })).code, 4);
  // It lives: its console goes on, and takes input.
  const log = join(pair.stateDir('backup'), 'console.log');
  await ask(join(pair.stateDir('backup'), 'status.sock'), {
    cmd: 'console-input',
    text: 'still here\n',
  });
  const deadline = Date.now() + 5000;
  while (!readFileSync(log, 'utf8').includes('still here') && Date.now() < deadline)
    await sleep(20);
  assert.match(readFileSync(log, 'utf8'), 'still here');
  const stopped = await runJson(['stop', pair.name], { env: pair.env });
  assert.equal(stopped.json, { name: pair.name, role: 'backup', stopped: true });
  assert.is((await backup.done).code, 0);
  assert.is((await run(['status', pair.name], { env: pair.env })).code, 3);
  await pair.end();
});

course('SIGKILL of the backup: the primary wins the fence and goes on', async () => {
  const pair = await FakeVmPair.make();
  for (const side of ['primary', 'backup']) pair.configure(side, '', 'vga = true');
  const { primary, backup } = await pair.startBoth();
  backup.child.kill('SIGKILL');
  const alone = await pair.until('primary', (status) => status.state === 'needs-backup');
  assert.is(alone.term, 2);
  assert.match(alone.reason, 'lost the backup');
  // A new backup cannot join this VM while it runs, and is told so by name.
  const refused = await runJson(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(refused.code, 12);
  assert.match(refused.stderr, /refused: cannot-join: .* while it runs: vga = true: /);
  primary.child.kill('SIGINT');
  assert.is((await primary.done).code, 0);
  await pair.end();
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  course(`${signal} on a protected primary ends the VM on both sides`, async () => {
    const pair = await FakeVmPair.make();
    const { primary, backup } = await pair.startBoth();
    const status = await pair.status('primary');
    primary.child.kill(signal);
    assert.is((await primary.done).code, 0);
    assert.is((await backup.done).code, 0);
    assert.match((await primary.done).stderr, 'stopped: stopped by the operator');
    assert.not.ok(isAlive(status?.qemu_pid ?? 0));
    const [a, b] = ['primary', 'backup'].map((side) =>
      readFileSync(join(pair.stateDir(side), 'console.log'), 'utf8'),
    );
    assert.is(a, b, 'both consoles are equal');
    for (const side of ['primary', 'backup']) {
      assert.not.ok(existsSync(join(pair.stateDir(side), 'status.sock')));
      assert.is(readFileSync(join(pair.stateDir(side), 'lock'), 'utf8'), '');
    }
    await pair.end();
  });
}

course('Ctrl-C before there is a peer, on either side', async () => {
  for (const side of ['primary', 'backup'] as const) {
    const pair = await FakeVmPair.make();
    const running = pair.start(side);
    await pair.until(side, (status) => status.state === 'starting');
    running.child.kill('SIGINT');
    const { code, stderr } = await running.done;
    assert.is(code, 0, stderr);
    assert.match(stderr, 'stopped by the operator');
  }
});

course('Ctrl-C at any moment of the start leaves nothing behind', async () => {
  for (const ms of [50, 150, 250, 350, 500, 700]) {
    const pair = await FakeVmPair.make();
    const primary = pair.start('primary');
    const backup = pair.start('backup');
    await sleep(ms);
    primary.child.kill('SIGINT');
    backup.child.kill('SIGINT');
    const ends = await Promise.all([primary.done, backup.done]);
    for (const { signal, stderr } of ends) {
      // Before its handler is in place a signal does what it always does.
      if (signal !== null) assert.is(signal, 'SIGINT');
      assert.not.match(stderr, /at .*\.ts|at .*\.js/, 'no stack trace');
    }
    for (const side of ['primary', 'backup']) {
      assert.not.ok(existsSync(join(pair.stateDir(side), 'status.sock')), `${side} at ${ms} ms`);
    }
  }
});

course('Ctrl-C on the backup: the primary goes on alone', async () => {
  const pair = await FakeVmPair.make();
  const { backup } = await pair.startBoth();
  backup.child.kill('SIGINT');
  assert.is((await backup.done).code, 0);
  const alone = await pair.until('primary', (status) => status.state === 'needs-backup');
  assert.match(alone.reason, 'stopped by the operator');
  await pair.end();
});

course('promote: handed over, the primary ends well', async () => {
  const pair = await FakeVmPair.make();
  const { primary } = await pair.startBoth();
  const { code, json } = await runJson(['promote', pair.name], { env: pair.env });
  assert.is(code, 0);
  assert.is(json.promoted, true);
  const { code: primaryCode, stderr } = await primary.done;
  assert.is(primaryCode, 0, stderr);
  assert.match(stderr, 'handed over: term 2 is held by backup');
  assert.is((await pair.status('backup'))?.state, 'needs-backup');
  await pair.end();
});

course('a QEMU that dies, on either side, is survived by the other', async () => {
  for (const [side, other] of [
    ['primary', 'backup'],
    ['backup', 'primary'],
  ] as const) {
    const pair = await FakeVmPair.make();
    const daemons = await pair.startBoth();
    const status = await pair.status(side);
    process.kill(status?.qemu_pid ?? 0, 'SIGKILL');
    const { code, stderr } = await daemons[side].done;
    assert.is(code, 1, stderr);
    assert.match(stderr, 'QEMU died of SIGKILL');
    const live = await pair.until(other, (now) => now.state === 'needs-backup');
    assert.match(live.reason, 'QEMU died of SIGKILL');
    await pair.end();
  }
});

course('a QEMU that hangs on the primary: the backup takes over', async () => {
  const pair = await FakeVmPair.make();
  const { primary } = await pair.startBoth();
  const status = await pair.status('primary');
  process.kill(status?.qemu_pid ?? 0, 'SIGSTOP');
  await pair.until('backup', (now) => now.state === 'needs-backup');
  assert.match((await primary.done).stderr, 'QEMU was killed because it hung');
  await pair.end();
});

course("what daemons make is their user's alone, whatever the shell's umask", async () => {
  const pair = await FakeVmPair.make();
  await withoutUmask(() => pair.startBoth());
  const deadlineMs = performance.now() + 5000;
  const marks = ['primary', 'backup'].map((side) => join(pair.dir, side, 'disk.raw.generation'));
  while (!marks.every((mark) => existsSync(mark))) {
    assert.ok(performance.now() < deadlineMs, 'both images are marked');
    await sleep(20);
  }
  for (const mark of marks) assert.is(statSync(mark).mode & 0o077, 0, mark);
  for (const dir of ['state', 'arbiter']) {
    const open = openToOthers(join(pair.dir, dir));
    // The arbiter's own folder is the operator's.
    assert.equal(
      open.filter((name) => dir !== 'arbiter' || !name.startsWith('. ')),
      [],
      dir,
    );
  }
  await pair.end();
});

course('a QEMU that breaks a rule of its ring is killed, and the other side goes on', async () => {
  const pair = await FakeVmPair.make();
  const primary = pair.start('primary', { FAKE_VM: 'lie' });
  pair.start('backup');
  const { code, stderr } = await primary.done;
  assert.is(code, 1, stderr);
  assert.match(stderr, /QEMU broke a rule of the ring, and was killed: \S/);
  assert.not.match(stderr, /at .*\.ts|at .*\.js/, 'no stack trace');
  await pair.until('backup', (now) => now.state === 'needs-backup');
  await pair.end();
});

course('a replay that diverges: exit code 10, and the primary goes on', async () => {
  const pair = await FakeVmPair.make();
  pair.start('primary');
  const backup = pair.start('backup', { FAKE_VM: 'diverge' });
  const { code, stderr } = await backup.done;
  assert.is(code, 10, stderr);
  const alone = await pair.until('primary', (now) => now.state === 'needs-backup');
  assert.match(alone.reason, 'diverged');
  await pair.end();
});

course('the guest powers off: both end, code 0', async () => {
  const pair = await FakeVmPair.make();
  const primary = pair.start('primary', { FAKE_VM_LINES: '30' }, '--json');
  const backup = pair.start('backup', {}, '--json');
  const endsMs: number[] = [];
  for (const { done } of [primary, backup]) void done.then(() => endsMs.push(performance.now()));
  const ends = await Promise.all([primary.done, backup.done]);
  const [first = 0, last = 0] = endsMs;
  assert.ok(last - first < 2000, `one side ended ${last - first} ms after the other`);
  for (const { code, stderr, stdout } of ends) {
    assert.is(code, 0, stderr);
    assert.is((JSON.parse(stdout) as { ok: boolean }).ok, true);
  }
  assert.match(ends[0]?.stdout ?? '', 'the guest powered off');
  await pair.end();
});

course('durability "disk" works the same', async () => {
  const pair = await FakeVmPair.make('durability = "disk"');
  const { primary } = await pair.startBoth();
  await sleep(300);
  primary.child.kill('SIGKILL');
  await pair.until('backup', (status) => status.state === 'needs-backup');
  await pair.end();
});

course.run();

const bad = suite('bad input');

bad('a second primary is refused with the process of the first', async () => {
  const pair = await FakeVmPair.make();
  const first = pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 1);
  assert.match(stderr, `already runs as process ${first.child.pid}`);
  await pair.end();
});

bad('the lock of a dead daemon is free', async () => {
  const pair = await FakeVmPair.make();
  const first = pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  first.child.kill('SIGKILL');
  await first.done;
  pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  await pair.end();
});

bad('a port in use is named, with what to do', async () => {
  const pair = await FakeVmPair.make();
  const server = createServer().listen(pair.port, '127.0.0.1');
  const { code, json } = await runJson(['primary', pair.toml('primary')], { env: pair.env });
  const error = json.error as { code: string; message: string };
  assert.is(code, 1);
  assert.is(error.code, 'port-in-use');
  assert.match(error.message, `port ${pair.port} on 127.0.0.1 is in use`);
  server.close();
});

bad('no primary within the deadline', async () => {
  const pair = await FakeVmPair.make();
  const { code, json } = await runJson(['backup', pair.toml('backup'), '--wait', '0.5'], {
    env: pair.env,
  });
  const error = json.error as { code: string; message: string };
  assert.is(code, 12);
  assert.is(error.code, 'peer-lost');
  assert.match(error.message, /no primary at 127.0.0.1:\d+ within .* ECONNREFUSED/);
});

bad('an arbiter that is not there', async () => {
  const pair = await FakeVmPair.make();
  rmSync(join(pair.dir, 'arbiter'), { recursive: true });
  const { code, json } = await runJson(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 12);
  assert.is((json.error as { code: string }).code, 'arbiter-unreachable');
});

bad('two arbiters for one VM', async () => {
  const pair = await FakeVmPair.make();
  const toml = readFileSync(pair.toml('backup'), 'utf8');
  writeFileSync(pair.toml('backup'), toml.replace('/arbiter"', '/backup"'));
  pair.start('primary');
  const { code, stderr } = await run(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(code, 12);
  assert.match(stderr, "does not know this VM's primary");
  await pair.end();
});

bad('another disk, another memory: refused by name', async () => {
  const pair = await FakeVmPair.make();
  pair.start('primary');
  writeFileSync(join(pair.dir, 'backup', 'disk.raw'), Buffer.alloc(1 << 20, 1));
  const disk = await run(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(disk.code, 12);
  assert.match(disk.stderr, /refused: disk-differs: the content hash of disk 0 \(disk.raw\)/);
  pair.configure('backup', '', 'memory = "64M"');
  const memory = await run(['backup', pair.toml('backup')], { env: pair.env });
  assert.is(memory.code, 12);
  assert.match(memory.stderr, 'refused: config-differs');
  const refused = await pair.until('primary', (status) => status.last_refused !== null);
  assert.is(refused.state, 'starting');
  await pair.end();
});

bad('without [replication] there is nothing to protect', async () => {
  const pair = await FakeVmPair.make();
  const toml = readFileSync(pair.toml('primary'), 'utf8');
  writeFileSync(pair.toml('primary'), toml.replace(/\[replication\][\s\S]*/, ''));
  const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 2);
  assert.match(stderr, 'needs a [replication] table');
});

bad('what does not run cannot be stopped or promoted', async () => {
  const pair = await FakeVmPair.make();
  for (const command of ['stop', 'promote']) {
    const { code } = await run([command, pair.name], { env: pair.env });
    assert.is(code, 3, command);
  }
});

bad('a terminal that has no room for what is said changes nothing else', async () => {
  const pair = await FakeVmPair.make();
  const prefix = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh'];
  for (const command of ['stop', 'promote']) {
    const { code } = await run([command, pair.name], { env: pair.env, prefix });
    assert.is(code, 3, command);
  }
});

bad('nonsense on the status socket is answered, not obeyed', async () => {
  const pair = await FakeVmPair.make();
  pair.start('primary');
  await pair.until('primary', (status) => status.state === 'starting');
  const socket = join(pair.stateDir('primary'), 'status.sock');
  assert.is((await ask(socket, { cmd: 'self-destruct' }))?.ok, false);
  assert.is((await ask(socket, { cmd: 'promote' }))?.code, 'not-running');
  assert.is((await ask(socket, { cmd: 'console-input', text: 'x' }))?.ok, false);
  assert.is((await ask(socket, { cmd: 'status' }))?.ok, true);
  await pair.end();
});

bad.run();
