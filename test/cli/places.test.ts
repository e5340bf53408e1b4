// SPDX-License-Identifier: Apache-2.0
/** Where a daemon keeps its state, its secrets and its switches: what is refused at its start. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../lib/command.ts';
import { FakeVmPair } from '../lib/fake-vm-pair.ts';

const places = suite('what a daemon finds');

for (const role of ['primary', 'backup']) {
  places(`a ${role} whose status socket would have too long a path says so, and ends`, async () => {
    const pair = await FakeVmPair.make();
    const state = join(pair.dir, 'x'.repeat(90));
    const env = { ...pair.env, UNDERSTUDY_STATE_DIR: state };
    const { code, stderr } = await run([role, pair.toml(role)], { env });
    assert.is(code, 1, stderr);
    assert.match(stderr, /status\.sock has a path of \d+ bytes, and 107 is the most/);
    assert.match(stderr, 'set UNDERSTUDY_STATE_DIR to a shorter path');
    await pair.end();
  });
}

places('a state folder that others may write in is refused', async () => {
  const pair = await FakeVmPair.make();
  const state = pair.stateDir('primary');
  mkdirSync(state, { recursive: true });
  chmodSync(state, 0o1777);
  const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 1, stderr);
  assert.match(stderr, `the state folder ${state} is not private`);
  assert.match(stderr, 'others may write in it (mode 0777); chmod 700 it');
  await pair.end();
});

places("a password of etcd's that others may read is refused", async () => {
  const lines = '[replication.etcd]\nuser = "understudy"\npassword_file = "password"';
  const pair = await FakeVmPair.make(lines, 'etcd:http://127.0.0.1:1');
  const path = join(pair.dir, 'primary', 'password');
  writeFileSync(path, 'secret');
  chmodSync(path, 0o644);
  const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 2, stderr);
  assert.match(stderr, `password_file ${path}: others may use it: \`chmod 600 ${path}\``);
});

places('what is in the environment for tests is said, and what cannot be is refused', async () => {
  const pair = await FakeVmPair.make();
  const bad = await run(['primary', pair.toml('primary')], {
    env: { ...pair.env, UNDERSTUDY_HANG_TIMEOUT_MS: 'soon' },
  });
  assert.is(bad.code, 2);
  assert.match(bad.stderr, 'UNDERSTUDY_HANG_TIMEOUT_MS=soon is no number above 0');
  const primary = pair.start('primary', { UNDERSTUDY_FAULT: 'none' });
  await pair.until('primary', (status) => status.state === 'starting');
  await pair.end();
  const { stderr } = await primary.done;
  assert.match(stderr, 'warning: UNDERSTUDY_FAULT is set in the environment: it is for tests');
  const log = readFileSync(join(pair.stateDir('primary'), 'daemon.log'), 'utf8');
  assert.match(log, 'UNDERSTUDY_FAULT is set');
});

places.run();
