// SPDX-License-Identifier: Apache-2.0
/** The arbiter on a shared folder: of many claims of one term, exactly one is won. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Claimant, describeHolder } from '../../src/arbiter/arbiter.ts';
import { dirArbiter } from '../../src/arbiter/dir.ts';
import { isArbiterUrl, openArbiter, resolveArbiterUrl } from '../../src/arbiter/registry.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-fence-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

const VM = '00112233445566778899aabbccddeeff';
let folders = 0;

function folder(): string {
  const path = join(dir, `arbiter-${++folders}`);
  mkdirSync(path);
  return path;
}

function claimant(role: Claimant['role'], instance: string = role): Claimant {
  return { role, name: 'demo', host: 'here', pid: 1, instance };
}

const fence = suite('fence');

fence('the first claim of a term wins, the other side loses and is told to whom', async () => {
  const arbiter = dirArbiter(folder());
  assert.equal(await arbiter.claim(VM, 1, claimant('primary')), { result: 'won', term: 1 });
  assert.equal(await arbiter.claim(VM, 2, claimant('backup')), { result: 'won', term: 2 });
  const lost = await arbiter.claim(VM, 2, claimant('primary'));
  assert.is(lost.result, 'lost');
  if (lost.result === 'lost') {
    assert.match(describeHolder(lost.holder), /^backup demo on here \(process 1\) since 20/);
  }
});

fence('a repeated claim of the same side is won again', async () => {
  const arbiter = dirArbiter(folder());
  for (let times = 0; times < 3; times += 1) {
    assert.is((await arbiter.claim(VM, 1, claimant('primary'))).result, 'won');
  }
  // Another run of the same daemon is another claimant.
  assert.is((await arbiter.claim(VM, 1, claimant('primary', 'restarted'))).result, 'lost');
});

fence('a stale term is lost, even to the one who once held it', async () => {
  const arbiter = dirArbiter(folder());
  await arbiter.claim(VM, 1, claimant('primary'));
  await arbiter.claim(VM, 2, claimant('backup'));
  const stale = await arbiter.claim(VM, 1, claimant('primary'));
  assert.is(stale.result, 'lost');
  assert.is(stale.result === 'lost' ? stale.term : 0, 2);
});

fence('a term cannot be skipped, and an empty mount point is not a free arbiter', async () => {
  const arbiter = dirArbiter(folder());
  const claim = await arbiter.claim(VM, 2, claimant('backup'));
  assert.is(claim.result, 'unreachable');
  assert.match(claim.result === 'unreachable' ? claim.reason : '', 'not reachable');
  await arbiter.claim(VM, 1, claimant('primary'));
  assert.is((await arbiter.claim(VM, 3, claimant('backup'))).result, 'unreachable');
});

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

fence('an arbiter that does not answer is unreachable after the time-out', async () => {
  const arbiter = dirArbiter(folder(), { timeoutMs: 0 });
  const claim = await arbiter.claim(VM, 1, claimant('primary'));
  assert.is(claim.result, 'unreachable');
  assert.match(claim.result === 'unreachable' ? claim.reason : '', 'did not answer within 0 ms');
});

fence('who holds a VM can be asked', async () => {
  const arbiter = dirArbiter(folder());
  assert.is(await arbiter.holder(VM), null);
  await arbiter.claim(VM, 1, claimant('primary'));
  const holder = await arbiter.holder(VM);
  assert.ok(holder !== null && 'term' in holder && holder.term === 1 && holder.role === 'primary');
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
    for (const bad of ['etcd:http://x', 'dir:', 'dir', ':/x', ''])
      assert.not(isArbiterUrl(bad), bad);
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

fence('many processes claim at once: exactly one wins, and nothing is left over', async () => {
  const path = folder();
  const arbiter = dirArbiter(path);
  await arbiter.claim(VM, 1, claimant('primary'));
  const TERMS = 25;
  const script = `
    const { dirArbiter } = await import(${JSON.stringify(new URL('../../src/arbiter/dir.ts', import.meta.url).href)});
    const arbiter = dirArbiter(process.argv[1]);
    const instance = process.argv[2];
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
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script, ...args],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        cwd: fileURLToPath(new URL('../..', import.meta.url)),
      },
    );
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
