// SPDX-License-Identifier: Apache-2.0
/**
 * Time-travel debugging by real gdbs, and that looking does not change what is looked at.
 *
 *   SEED=N npm test integration/debug
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { keyOf, POWER_ON } from '../../src/base/position.ts';
import { openRecording, recordingPaths } from '../../src/recording/folder.ts';
import { claimRecording } from '../../src/recording/lock.ts';
import { run, scratch } from '../lib/command.ts';
import { debugAtRandom } from '../lib/debug-random.ts';
import {
  FIND_THE_STORE,
  foundStore,
  gdb,
  killDebugServers,
  startDebug,
  symbol,
} from '../lib/debugger.ts';
import { recordWildStore } from '../lib/wild-store.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const dir = scratch('debug');
const debug = suite('debug');

const { program, recording } = await recordWildStore(join(dir, 'vm'), {
  checkpointEvery: '100000000i',
});
const theStore = symbol(program, 'the_store');
const { end } = openRecording(recording);
const last = keyOf((end ?? POWER_ON).point);
const before = hashOf(recording);

/** In gdb's words, before its version 16 and since. */
const END_OF_HISTORY = /No more reverse-execution history|Reached end of recorded history/;

function says(said: string, text: string): void {
  assert.ok(said.includes(text), `no "${text}" in:\n${said}`);
}

/** Hash of every file in the folder. */
function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue;
    const path = join(name.parentPath ?? name.path, name.name);
    hash.update(path).update(readFileSync(path));
  }
  return hash.digest('hex');
}

debug('from the end, reverse-continue finds the store that corrupted the variable', async () => {
  const server = await startDebug(recording, ['--from', 'end']);
  const places = new Set<string>();
  for (let repetition = 0; repetition < 2; repetition += 1) {
    const said = await gdb({ program, target: server.target, script: FIND_THE_STORE, dir });
    const { pc, balance, icount } = foundStore(said);
    assert.is(pc, theStore, said);
    assert.is(balance, '370366', 'the store has not been executed');
    places.add(icount);
  }
  assert.is(places.size, 1, [...places].join(' '));
  assert.is(await server.end(), 0);
});

debug('from the beginning: break, watch, stepi, continue to the end; and back', async () => {
  const server = await startDebug(recording, ['--from', '5e7']);
  const script = [
    'hbreak work',
    'continue',
    'printf "at=0x%lx\\n", (long)$pc',
    'delete',
    'watch bank.balance',
    'continue',
    'continue',
    'printf "balance=%ld\\n", bank.balance',
    'monitor where',
    'stepi',
    'stepi',
    'reverse-stepi',
    'reverse-stepi',
    'monitor where',
    'reverse-continue',
    'printf "balance=%ld\\n", bank.balance',
    'delete',
    'continue',
    'monitor where',
    'reverse-continue',
    'monitor where',
  ];
  const said = await gdb({ program, target: server.target, script, dir });
  assert.is(/at=(0x[0-9a-f]+)/.exec(said)?.[1], `0x${symbol(program, 'work').toString(16)}`);
  // Deposits are 0, 1, 2, …: gdb is not told of one that changes nothing.
  assert.equal(
    [...said.matchAll(/balance=(\d+)/g)].map(([, value]) => value),
    ['3', '1'],
    said,
  );
  const icounts = [...said.matchAll(/^icount (\d+)/gm)].map(([, icount]) => icount);
  assert.is(icounts[0], icounts[1], 'two steps, and two back');
  assert.is(icounts[2], last, said);
  assert.is(icounts[3], '0', said);
  assert.match(said, END_OF_HISTORY);
  assert.is(await server.end(), 0);
});

debug('goto, and what is not in the recording', async () => {
  const server = await startDebug(recording, []);
  const script = [
    'monitor goto 123456789',
    'monitor goto 999999999999',
    'monitor goto checkpoint 2',
    'monitor goto checkpoint 99',
    'monitor goto output 1',
    'monitor goto output 99999',
    'monitor goto end',
    'maintenance flush register-cache',
    'monitor checkpoints',
    'monitor system_reset',
    'monitor info registers',
    'stepi',
  ];
  const said = await gdb({ program, target: server.target, script, dir });
  const second = readdirSync(join(recording, 'checkpoints'))
    .filter((name) => /^\d+$/.test(name))
    .sort((a, b) => Number(a) - Number(b))[1];
  says(said, 'icount 123456789,');
  says(said, 'icount 999999999999 is not in this recording');
  says(said, `icount ${second},`);
  says(said, 'there is no checkpoint 99');
  says(said, 'fewer outputs than 99999');
  says(said, `icount ${last},`);
  says(said, 'no command "system_reset"');
  says(said, 'RIP=');
  assert.match(said, END_OF_HISTORY);
  assert.is(await server.end(), 0);
});

debug('several at once; one that vanishes; the recording is held and not changed', async () => {
  const tmp = join(dir, 'tmp');
  mkdirSync(tmp);
  const server = await startDebug(recording, ['--from', 'end'], { TMPDIR: tmp });
  const { target } = server;
  assert.is(statSync(target).mode & 0o777, 0o600, "the socket is its user's alone");
  assert.is(statSync(dirname(target)).mode & 0o777, 0o700);
  const vanishing = createConnection(target);
  await new Promise((resolve) => vanishing.once('connect', resolve));
  vanishing.write('$bc#c5');
  const gdbs = [0, 1].map(() => gdb({ program, target, script: FIND_THE_STORE, dir }));
  await sleep(500);
  vanishing.destroy();
  const [a, b] = (await Promise.all(gdbs)).map(foundStore);
  assert.equal(a, b);
  const holders = claimRecording(recordingPaths(recording));
  assert.ok(Array.isArray(holders) && holders.length > 0, 'nobody may delete it meanwhile');
  // One inferior stands ready for the next debugger, beside the socket.
  for (let tries = 0; readdirSync(tmp).length > 2 && tries < 100; tries += 1) await sleep(100);
  assert.is(readdirSync(tmp).length, 2, 'the inferiors of debuggers that went are gone');
  assert.is(await server.end(), 0);
  assert.equal(readdirSync(tmp), []);
  assert.is(hashOf(recording), before);
});

debug('break- and watchpoints, steps and pauses leave the replay as it is', async () => {
  const facts = await debugAtRandom(recording, { seed, seconds: 15 });
  assert.ok(facts.hits > 20, `SEED=${seed}: ${JSON.stringify(facts)}`);
});

debug('without a checkpoint it goes back as well, and says what would be quicker', async () => {
  const bare = await recordWildStore(join(dir, 'bare'));
  const server = await startDebug(bare.recording, ['--from', 'end', '--port', '0']);
  assert.match(server.target, /^127\.0\.0\.1:\d+$/);
  const said = await gdb({ ...bare, target: server.target, script: FIND_THE_STORE, dir });
  assert.is(foundStore(said).pc, theStore, said);
  server.running.child.kill('SIGINT');
  assert.match((await server.running.done).stderr, '--checkpoint-every');
});

debug('what cannot be debugged is refused', async () => {
  assert.is((await run(['debug', join(dir, 'nothing')])).code, 11);
  assert.is((await run(['debug', recording, '--from', '99e12'])).code, 2);
  assert.is((await run(['debug', recording, '--port', 'x'])).code, 2);
});

debug.after(killDebugServers);
debug.run();
