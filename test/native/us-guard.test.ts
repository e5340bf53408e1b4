// SPDX-License-Identifier: Apache-2.0
/** The guard for guests, run here: its file, and what it says and does at a terminal. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../bench/stand-ins/courier.ts';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { Progress } from '../../scripts/lib/progress.mjs';
import { guardStep } from '../../scripts/steps/us-guard.mjs';
import { type Line, parseLine, type ServiceLine } from '../../src/guard/lines.ts';

const TERMINAL = new URL('../lib/terminal.py', import.meta.url).pathname;
const dir = tempDir('us-guard');
const file = join(dir, 'us-guard.conf');
const program = await guardStep(new Progress({ quietDone: true }));

const guard = suite('us-guard');

guard('says what is wrong with its file, by its line', () => {
  const check = (text: string): { status: number | null; stdout: string; stderr: string } => {
    writeFileSync(file, text);
    return spawnSync(program, ['--check', file], { encoding: 'utf8' });
  };
  const good = '[a]\ncheck = process sh\nrestart = true\n';
  assert.match(check(good).stdout, '1 services, reported over /dev/ttyS1');
  const long = 'x'.repeat(600);
  for (const [text, wrong] of [
    ['', 'it has no [NAME]'],
    ['[a]\n', '[a] needs a check'],
    [`${good}[a]\n`, ':4: [a] is there twice'],
    ['[a b]\n', 'a name has letters'],
    ['[a\n', 'begins with [NAME]'],
    ['speed = 9\n', 'there are port and report_ms, not "speed"'],
    [`${good}intervall = 3\n`, ':4: there is no key "intervall"'],
    [`${good}interval_ms = 3\n`, 'from 100 to 3600000'],
    [`${good}interval_ms = 1e3\n`, 'from 100 to 3600000'],
    [`${good}reset = maybe\n`, 'yes or no'],
    [`${good}check = process b\n`, 'one check'],
    [`${good}send = x\n`, 'for a check by tcp'],
    [`${good}restart = ${long}\n`, 'from 1 to 511 bytes'],
    ['[a]\ncheck = ping b\n', '"ping" is no kind of check'],
    ['[a]\ncheck = tcp db:5432\n', '"db" is no IP address'],
    ['[a]\ncheck = tcp 10.0.0.1\n', 'must be ADDRESS:PORT'],
    ['[a]\ncheck = tcp 10.0.0.1:0\n', 'from 1 to 65535'],
    ['[a]\ncheck = process b\n', '[a] needs a restart'],
    [Array.from({ length: 17 }, (_, n) => good.replace('a', `s${n}`)).join(''), 'at most 16'],
  ] as const) {
    const { status, stderr } = check(text);
    assert.is(status, 2, text);
    assert.match(stderr, wrong);
  }
});

/** It runs by this file (PORT: a terminal's name) while `act` looks at what it says. */
async function running(
  text: string,
  act: (said: Line[], tell: (text: string) => void) => Promise<void>,
): Promise<void> {
  const pty = spawn('python3', [TERMINAL], { stdio: ['pipe', 'pipe', 'inherit'] });
  const said: Line[] = [];
  let child: ChildProcess | null = null;
  const started = new Promise<void>((resolve) => {
    createInterface({ input: pty.stdout }).on('line', (line) => {
      if (child === null) {
        writeFileSync(file, text.replace('PORT', line));
        child = spawn(program, [file], { stdio: 'inherit' });
        resolve();
        return;
      }
      const parsed = parseLine(line);
      assert.ok(parsed, line);
      said.push(parsed);
    });
  });
  try {
    await started;
    await act(said, (words) => pty.stdin.write(words));
  } finally {
    (child as ChildProcess | null)?.kill('SIGKILL');
    pty.kill('SIGKILL');
  }
}

const last = (said: Line[], name: string): ServiceLine | undefined =>
  said.findLast((line): line is ServiceLine => 'service' in line && line.service === name);

guard(
  'a process that is not there, or is stopped, fails; it is restarted when it is told to',
  async () => {
    const sleeper = join(dir, 'us-sleeper');
    copyFileSync('/bin/sleep', sleeper);
    const text =
      'port = PORT\nreport_ms = 500\n[a]\ncheck = process us-sleeper\ninterval_ms = 100\n' +
      `failures = 2\ngrace_ms = 0\nrestart = ${sleeper} 60 & echo $! > ${dir}/pid\n`;
    try {
      await running(text, async (said, tell) => {
        await until('it fails', () => last(said, 'a')?.state === 'failed');
        assert.is(last(said, 'a')?.why, 'no process us-sleeper');
        tell('x'.repeat(1000));
        tell('\nrestart b 1\nstop a 2\nrestart a\nrestart a 7\n');
        await until('it is up', () => last(said, 'a')?.state === 'up');
        const done = said.filter((line) => 'done' in line);
        assert.is(done.length, 1, 'a stranger to it, or half a command, does nothing');
        assert.match(JSON.stringify(done), '"done":"a","id":7,"status":0');
        execFileSync('sh', ['-c', `kill -STOP $(cat ${dir}/pid)`]);
        await until('it fails', () => last(said, 'a')?.state === 'failed');
        assert.match(last(said, 'a')?.why ?? '', 'in state T');
        assert.is(last(said, 'a')?.restarts, 1);
      });
    } finally {
      if (existsSync(`${dir}/pid`)) execFileSync('sh', ['-c', `kill -9 $(cat ${dir}/pid)`]);
      rmSync(`${dir}/pid`, { force: true });
    }
  },
);

guard('HTTP, commands and restarts that hang hold nothing up', async () => {
  let code = 200;
  const server = createServer((_, answer) => {
    if (code > 0) answer.writeHead(code).end('x'.repeat(5000));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const text =
    'port = PORT\nreport_ms = 500\n' +
    `[web]\ncheck = http 127.0.0.1:${port}/health\ninterval_ms = 100\ntimeout_ms = 300\n` +
    'failures = 1\nrestarts = 0\n' +
    '[slow]\ncheck = command sleep 60\ntimeout_ms = 200\ninterval_ms = 100\nfailures = 2\n' +
    'grace_ms = 0\nrestart = sleep 60\nrestart_timeout_ms = 300\n';
  try {
    await running(text, async (said, tell) => {
      await until('it is up', () => last(said, 'web')?.state === 'up');
      await until('it fails', () => last(said, 'slow')?.state === 'failed');
      tell('restart slow 3\n');
      await until('it was killed', () =>
        said.some((line) => 'done' in line && line.status === 137),
      );
      code = 503;
      await until('it fails', () => /status 503$/.test(last(said, 'web')?.why ?? ''));
      code = 0;
      await until('it hangs', () => /no answer in 300 ms$/.test(last(said, 'web')?.why ?? ''));
      code = 302;
      await until('it is up', () => last(said, 'web')?.state === 'up');
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

guard.run();
