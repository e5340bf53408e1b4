// SPDX-License-Identifier: Apache-2.0
/** `fence_command` and `on_failover`: what they are told, and that output is held until the first succeeds. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../lib/command.ts';
import { FakeVmPair, isAlive, sleep } from '../lib/fake-vm-pair.ts';

const fencing = suite('fence_command and on_failover');

/** What a helper was told, for each time that it ran. */
interface Told {
  readonly words: string[];
  readonly env: Record<string, string>;
}

/** A helper that keeps what it is told, then does what a script of the test says. */
class Helper {
  readonly path: string;
  readonly #told: string;

  constructor(pair: FakeVmPair, name: string, script: string) {
    this.path = join(pair.dir, name);
    this.#told = `${this.path}.told`;
    const keep =
      `const { appendFileSync } = require('node:fs');\n` +
      `const told = { words: process.argv.slice(2), env: process.env };\n` +
      `appendFileSync(${JSON.stringify(this.#told)}, JSON.stringify(told) + '\\n');\n`;
    writeFileSync(this.path, `#!${process.execPath}\n${keep}${script}\n`);
    chmodSync(this.path, 0o755);
  }

  get told(): Told[] {
    if (!existsSync(this.#told)) return [];
    const lines = readFileSync(this.#told, 'utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as Told);
  }

  async until(times: number): Promise<Told> {
    const deadlineMs = performance.now() + 15_000;
    while (this.told.length < times) {
      assert.ok(performance.now() < deadlineMs, `${this.path} ran ${this.told.length} times`);
      await sleep(20);
    }
    return this.told[times - 1] as Told;
  }
}

/** @param scripts of the two; null: there is none */
async function pairWith(
  scripts: { fence?: (dir: string) => string; failover?: string },
  timeoutS = 10,
): Promise<{ pair: FakeVmPair; fence: Helper; failover: Helper }> {
  const pair = await FakeVmPair.make();
  const fence = new Helper(pair, 'fence', scripts.fence?.(pair.dir) ?? '');
  const failover = new Helper(pair, 'failover', scripts.failover ?? '');
  const words = JSON.stringify([fence.path, '--off', '$(touch x) a b']);
  const lines = [
    `fence_command = ${words}`,
    `on_failover = ${JSON.stringify([failover.path])}`,
    `helper_timeout_s = ${timeoutS}`,
  ];
  for (const side of ['primary', 'backup']) pair.configure(side, lines.join('\n'));
  return { pair, fence, failover };
}

fencing('a helper that fails keeps the VM waiting, until it succeeds', async () => {
  const { pair, fence, failover } = await pairWith({
    fence: (dir) =>
      `if (require('node:fs').existsSync(${JSON.stringify(join(dir, 'is-off'))})) process.exit(0);\n` +
      `console.error('the power switch does not answer'); process.exit(3);`,
  });
  const { primary } = await pair.startBoth();
  primary.child.kill('SIGKILL');
  const why =
    /waiting: term 2 is won, but fence_command ended with exit code 3: the power switch does not/;
  await pair.until('backup', ({ reason }) => why.test(reason));
  await fence.until(3);
  const { state, term } = await pair.until('backup', () => true);
  assert.equal([state, term], ['syncing', 1], 'it holds');
  assert.equal(failover.told, []);
  writeFileSync(join(pair.dir, 'is-off'), '');
  const live = await pair.until('backup', (status) => status.state === 'needs-backup');
  assert.is(live.term, 2);

  const [{ words, env } = { words: [], env: {} as Record<string, string> }] = fence.told;
  assert.equal(words, ['--off', '$(touch x) a b'], 'no shell');
  const names = Object.keys(env).filter((name) => !name.startsWith('UNDERSTUDY_'));
  assert.equal(names, ['PATH']);
  const { UNDERSTUDY_PEER: peer, UNDERSTUDY_REASON: reason, ...rest } = env;
  assert.match(peer ?? '', /^127\.0\.0\.1:\d+$/);
  assert.ok(reason !== undefined && reason !== '');
  assert.equal(
    { ...rest, PATH: '' },
    {
      PATH: '',
      UNDERSTUDY_EVENT: 'fence',
      UNDERSTUDY_ROLE: 'backup',
      UNDERSTUDY_TERM: '2',
      UNDERSTUDY_VM: pair.name,
      UNDERSTUDY_VM_ID: live.vm_id,
    },
  );
  assert.is((await failover.until(1)).env.UNDERSTUDY_EVENT, 'failover');
  await sleep(500);
  assert.is(failover.told.length, 1, 'once');
  await pair.end();
});

fencing('a helper that takes too long is ended with all that it has started', async () => {
  const { pair, fence } = await pairWith(
    {
      fence: (dir) =>
        `const child = require('node:child_process').spawn('sleep', ['1000']);\n` +
        `require('node:fs').appendFileSync(${JSON.stringify(join(dir, 'pids'))}, child.pid + '\\n');\n` +
        `setTimeout(() => {}, 1e6);`,
    },
    1,
  );
  const { primary } = await pair.startBoth();
  primary.child.kill('SIGKILL');
  const why = /term 2 is won, but fence_command did not end within 1 s/;
  await pair.until('backup', ({ reason }) => why.test(reason));
  await fence.until(2);
  const [first] = readFileSync(join(pair.dir, 'pids'), 'utf8').split('\n');
  assert.not(isAlive(Number(first)), 'what it started is gone');
  const { state, term } = await pair.until('backup', () => true);
  assert.equal([state, term], ['syncing', 1], 'it holds');
  await pair.end();
});

fencing('a primary that lost its backup has it fenced too, before it goes on alone', async () => {
  const { pair, fence, failover } = await pairWith({});
  const { backup } = await pair.startBoth();
  backup.child.kill('SIGKILL');
  await pair.until('primary', (status) => status.state === 'needs-backup');
  assert.is(fence.told.length, 1);
  assert.is(fence.told[0]?.env.UNDERSTUDY_ROLE, 'primary');
  await failover.until(1);
  await pair.end();
});

fencing('who leaves by its own word is not fenced', async () => {
  const { pair, fence, failover } = await pairWith({});
  await pair.startBoth();
  const { code, stderr } = await run(['promote', pair.name], { env: pair.env });
  assert.is(code, 0, stderr);
  await pair.until('backup', (status) => status.state === 'needs-backup');
  await failover.until(1);
  assert.equal(fence.told, []);
  await pair.end();
});

fencing('on_failover that fails is reported, and changes nothing', async () => {
  const { pair } = await pairWith({ failover: `console.log('no DNS'); process.exit(1);` });
  const { primary, backup } = await pair.startBoth();
  primary.child.kill('SIGKILL');
  await pair.until('backup', (status) => status.state === 'needs-backup');
  await sleep(500);
  backup.child.kill('SIGINT');
  const { stderr } = await backup.done;
  assert.match(stderr, 'on-failover-failed: on_failover ended with exit code 1: no DNS');
});

fencing('a program that cannot be run is refused at start', async () => {
  const pair = await FakeVmPair.make();
  for (const [words, why] of [
    ['["/nowhere/fence"]', /replication\.fence_command: this program cannot be run: ENOENT/],
    ['["/etc/passwd"]', /replication\.fence_command: this program cannot be run: EACCES/],
    ['["/etc"]', /replication\.fence_command: this program cannot be run: .* not a file/],
    ['["fence"]', /fence_command.* must begin with the absolute path of a program/],
    ['[]', /fence_command.* must name a program/],
  ] as const) {
    pair.configure('primary', `fence_command = ${words}`);
    const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
    assert.is(code, 2, stderr);
    assert.match(stderr, why);
  }
});

fencing.run();
