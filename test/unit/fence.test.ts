// SPDX-License-Identifier: Apache-2.0
/** The arbiter on a shared folder: of many claims of one term, exactly one is won. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { describeHolder, NO_ACCESS } from '../../src/arbiter/arbiter.ts';
import { dirArbiter } from '../../src/arbiter/dir.ts';
import {
  arbiterProblem,
  isArbiterUrl,
  openArbiter,
  resolveArbiterUrl,
} from '../../src/arbiter/registry.ts';
import { arbiterContract, claimant, VM } from '../lib/arbiter-contract.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-fence-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

let folders = 0;

function folder(): string {
  const path = join(dir, `arbiter-${++folders}`);
  mkdirSync(path);
  return path;
}

const fence = suite('fence');

arbiterContract(fence, () => dirArbiter(folder()));

fence('a missing folder is unreachable, and is not made', async () => {
  const path = folder();
  const arbiter = dirArbiter(path);
  await arbiter.claim(VM, 1, claimant('primary'));
  renameSync(path, `${path}-gone`);
  const claim = await arbiter.claim(VM, 2, claimant('primary'));
  assert.is(claim.result, 'unreachable');
  assert.match(claim.result === 'unreachable' ? claim.reason : '', path);
  renameSync(`${path}-gone`, path);
  assert.is((await arbiter.claim(VM, 2, claimant('primary'))).result, 'won');
});

fence('a file in place of the folder is unreachable', async () => {
  const arbiter = dirArbiter(fileURLToPath(import.meta.url));
  assert.is((await arbiter.claim(VM, 1, claimant('primary'))).result, 'unreachable');
});

fence('a folder that cannot be written is unreachable', async () => {
  const path = folder();
  chmodSync(path, 0o555);
  // Root may write anywhere but there, and a Node with io_uring cannot be somebody else for a while.
  const closed = process.getuid?.() === 0 ? '/sys/kernel' : path;
  assert.is((await dirArbiter(closed).claim(VM, 1, claimant('primary'))).result, 'unreachable');
  chmodSync(path, 0o700);
  assert.is((await dirArbiter(path).claim(VM, 1, claimant('primary'))).result, 'won');
});

fence(
  'a record that somebody else has written is shown, or refused, and decides nothing',
  async () => {
    const path = folder();
    const arbiter = dirArbiter(path);
    await arbiter.claim(VM, 1, claimant('primary'));
    const record = join(path, VM, 'term-1/holder.json');
    const written = JSON.parse(readFileSync(record, 'utf8'));
    writeFileSync(record, JSON.stringify({ ...written, host: 'a\u001b]0;x\u0007', instance: 'b' }));
    const lost = await arbiter.claim(VM, 1, claimant('primary'));
    assert.is(lost.result, 'lost');
    assert.match(
      lost.result === 'lost' ? describeHolder(lost.holder) : '',
      ' on a\ufffd]0;x\ufffd ',
    );
    for (const text of [
      '',
      'null',
      '{}',
      JSON.stringify({ ...written, term: 2 }),
      JSON.stringify({ ...written, pid: {} }),
      JSON.stringify({ ...written, powerOn: '../elsewhere' }),
      JSON.stringify({ ...written, more: 'x'.repeat(1 << 20) }),
    ]) {
      writeFileSync(record, text);
      for (const term of [1, 2]) {
        const claim = await arbiter.claim(VM, term, claimant('primary'));
        // The next term needs no look at who had the last one.
        assert.is(claim.result, term === 1 ? 'unreachable' : 'won', text.slice(0, 80));
      }
      rmSync(join(path, VM, 'term-2'), { recursive: true });
      assert.ok('unreachable' in ((await arbiter.holder(VM)) ?? {}), text.slice(0, 80));
    }
  },
);

fence('an arbiter that does not answer is unreachable after the time-out', async () => {
  const arbiter = dirArbiter(folder(), { timeoutMs: 0 });
  const claim = await arbiter.claim(VM, 1, claimant('primary'));
  assert.is(claim.result, 'unreachable');
  assert.match(claim.result === 'unreachable' ? claim.reason : '', 'did not answer within 0 ms');
});

fence('without an arbiter a VM may start, but nobody goes on alone', async () => {
  const arbiter = openArbiter(null);
  assert.not(arbiter.shared);
  assert.is((await arbiter.claim(VM, 1, claimant('primary'))).result, 'won');
  assert.is((await arbiter.claim(VM, 2, claimant('primary'))).result, 'unreachable');
});

fence(
  'an arbiter is opened by its URL, whose path VM.toml may give from its own folder',
  async () => {
    const path = folder();
    for (const bad of ['zk:http://x', 'dir:', 'dir', ':/x', '']) assert.not(isArbiterUrl(bad), bad);
    assert.ok(isArbiterUrl('dir:shared'));
    const url = resolveArbiterUrl('dir:shared', (given) => join(path, given));
    assert.is(url, `dir:${path}/shared`);
    mkdirSync(join(path, 'shared'));
    const arbiter = openArbiter(url);
    assert.is(arbiter.name, url);
    assert.ok(arbiter.shared);
    assert.is((await arbiter.claim(VM, 1, claimant('primary'))).result, 'won');
  },
);

fence('the members of etcd are URLs, and plain only on this host or in so many words', () => {
  const problem = (urls: string, insecurePlaintext = false): string =>
    arbiterProblem(`etcd:${urls}`, { ...NO_ACCESS, insecurePlaintext }) ?? '';
  for (const well of ['https://a:2379', 'https://a:1,https://[::2]:2', 'http://127.0.0.1:2379']) {
    assert.is(problem(well), '');
  }
  for (const bad of ['a:2379', 'https://a:2379,', 'https://a/v3', 'ftp://a']) {
    assert.match(problem(bad), 'must be https://HOST:PORT');
  }
  assert.match(problem('http://localhost:1,http://10.0.0.1:2'), /10\.0\.0\.1:2 is plain HTTP .*/);
  assert.is(problem('http://10.0.0.1:2', true), '');
});

fence('many processes claim at once: exactly one wins, and nothing is left over', async () => {
  const path = folder();
  const arbiter = dirArbiter(path);
  await arbiter.claim(VM, 1, claimant('primary'));
  const TERMS = 25;
  const script = join(dir, 'claimer.mts');
  const text = `
    const { dirArbiter } = await import(${JSON.stringify(new URL('../../src/arbiter/dir.ts', import.meta.url).href)});
    const arbiter = dirArbiter(process.argv[2]);
    const instance = process.argv[3];
    const won = [];
    for (let term = 2; term < ${TERMS + 2}; term += 1) {
      for (;;) {
        const claim = await arbiter.claim('${VM}', term, { role: 'backup', name: 'x', host: 'h', pid: process.pid, instance });
        if (claim.result === 'unreachable') continue; // the term before is not there yet
        if (claim.result === 'won') won.push(term);
        break;
      }
    }
    process.stdout.write(JSON.stringify(won));
  `;
  writeFileSync(script, text);
  const runs = await Promise.all(
    Array.from({ length: 6 }, (_, index) => runScript(script, [path, `p${index}`])),
  );
  const won = runs.flatMap((text) => JSON.parse(text) as number[]).sort((a, b) => a - b);
  assert.equal(
    won,
    Array.from({ length: TERMS }, (_, index) => index + 2),
  );
  const leftOver = readdirSync(join(path, VM)).filter((name) => !/^term-\d+$/.test(name));
  assert.equal(leftOver, []);
});

function runScript(script: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`claimer ended with ${code}`)),
    );
  });
}

fence.run();
