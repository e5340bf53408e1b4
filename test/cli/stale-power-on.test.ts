// SPDX-License-Identifier: Apache-2.0
/**
 * Images of an earlier moment that somebody powers on, with test/lib/fake-vm.c in QEMU's place: each is
 * refused, and what is said leads to the newest one. A VM that was fenced ends.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson, start } from '../lib/command.ts';
import { FakeVmPair, sleep } from '../lib/fake-vm-pair.ts';
import { freePort } from '../lib/free-port.ts';

const stale = suite('stale power-on');

const imageOf = (pair: FakeVmPair, side: string): string => join(pair.dir, side, 'disk.raw');
const markOf = (pair: FakeVmPair, side: string): string => `${imageOf(pair, side)}.generation`;

/** The survivor is the backup, which serves alone, and has said so on its image. */
async function survived(pair: FakeVmPair): Promise<void> {
  const { primary } = await pair.startBoth();
  primary.child.kill('SIGKILL');
  await pair.until('backup', (status) => status.state === 'needs-backup');
  const deadlineMs = performance.now() + 5000;
  while (!/"live"/.test(readFileSync(markOf(pair, 'backup'), 'utf8'))) {
    assert.ok(performance.now() < deadlineMs, 'the image is marked');
    await sleep(20);
  }
}

/** What `understudy primary` says of an image that it does not take. */
async function refusal(pair: FakeVmPair, side: string): Promise<string> {
  // All hosts of this test are one, and the survivor listens where the primary did.
  const text = readFileSync(pair.toml(side), 'utf8');
  const other = `primary = "127.0.0.1:${await freePort()}"`;
  writeFileSync(pair.toml(side), text.replace(/^primary = .*$/m, other));
  const { code, json } = await runJson(['primary', pair.toml(side), '--json'], { env: pair.env });
  writeFileSync(pair.toml(side), text);
  const error = json.error as { code: string; message: string } | undefined;
  assert.equal([code, error?.code], [2, 'image-older'], error?.message);
  return error?.message ?? '';
}

/** Another host with an image and a VM.toml of its own. */
function anotherHost(pair: FakeVmPair, from: string, withMark: boolean): void {
  pair.configure('third');
  cpSync(imageOf(pair, from), imageOf(pair, 'third'));
  if (withMark) cpSync(markOf(pair, from), markOf(pair, 'third'));
}

/** The side that serves was not disturbed. */
async function serves(pair: FakeVmPair): Promise<void> {
  const { term, state } = await pair.until('backup', () => true);
  assert.equal([state, term], ['needs-backup', 2]);
}

stale('beside the survivor: the old primary is refused, and its holder named', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  assert.match(
    await refusal(pair, 'primary'),
    /it is of term 1; the newest is the image of backup \S+ on .* with term 2/,
  );
  await serves(pair);
  await pair.end();
});

stale('a golden image of the VM, on a third host, beside the survivor', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  anotherHost(pair, 'primary', false);
  assert.match(await refusal(pair, 'third'), /nothing beside it says .* backup \S+ on .* term 2/);
  await serves(pair);
  await pair.end();
});

stale('both hosts lost power after a failover, and both come back as they were', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  await pair.end();
  // As their units start them.
  const backup = start(['backup', pair.toml('backup')], { env: pair.env });
  pair.running.push(backup);
  assert.match(await refusal(pair, 'primary'), /it is of term 1; .* backup \S+ on .* with term 2/);
  await pair.end();
  // As the message says: the roles the other way round, with a copy of the newest image.
  cpSync(imageOf(pair, 'backup'), imageOf(pair, 'primary'));
  pair.running.push(start(['primary', pair.toml('backup')], { env: pair.env }));
  pair.running.push(start(['backup', pair.toml('primary')], { env: pair.env }));
  await pair.until('primary', (status) => status.state === 'protected');
  await pair.end();
});

stale('a new backup finds the survivor, whoever was started where the primary was', async () => {
  const pair = await FakeVmPair.make();
  const survivor = await freePort();
  for (const side of ['primary', 'backup'])
    pair.configure(side, `backup = "127.0.0.1:${survivor}"`);
  await survived(pair);
  await refusal(pair, 'primary');
  // It asks where the primary was first, and nobody waits there.
  const env = { ...pair.env, UNDERSTUDY_STATE_DIR: join(pair.dir, 'again') };
  const joining = start(['backup', pair.toml('primary')], { env });
  pair.running.push(joining);
  // A VM that is not QEMU takes no checkpoint, so the join itself is refused: by the survivor.
  await pair.until('backup', ({ state, last_refused: refused }) => {
    return state !== 'needs-backup' || refused !== null;
  });
  await pair.end();
});

stale('an image restored from before the failover, with its mark', async () => {
  const pair = await FakeVmPair.make();
  const { primary } = await pair.startBoth();
  mkdirSync(join(pair.dir, 'kept'));
  for (const path of [imageOf(pair, 'primary'), markOf(pair, 'primary')]) {
    cpSync(path, path.replace('/primary/', '/kept/'));
  }
  primary.child.kill('SIGKILL');
  await pair.until('backup', (status) => status.state === 'needs-backup');
  await sleep(500);
  await pair.end();
  for (const path of [imageOf(pair, 'primary'), markOf(pair, 'primary')]) {
    cpSync(path.replace('/primary/', '/kept/'), path);
  }
  assert.match(await refusal(pair, 'primary'), /it is of term 1; .* with term 2/);
});

stale("the newest image under another one's mark, until it has its own", async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  await pair.end();
  cpSync(imageOf(pair, 'backup'), imageOf(pair, 'primary'));
  assert.match(await refusal(pair, 'primary'), /it is of term 1/);
  cpSync(markOf(pair, 'backup'), markOf(pair, 'primary'));
  const running = start(['primary', pair.toml('primary')], { env: pair.env });
  pair.running.push(running);
  const { reason } = await pair.until('primary', (status) => status.state === 'starting');
  assert.match(reason, 'waiting for the backup');
  await pair.end();
});

stale('an old primary that is shown another arbiter, which knows nothing', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  const toml = pair.toml('primary');
  const other = join(pair.dir, 'other');
  mkdirSync(other);
  const text = readFileSync(toml, 'utf8');
  writeFileSync(toml, text.replace(/arbiter = .*/, `arbiter = "dir:${other}"`));
  assert.match(await refusal(pair, 'primary'), 'the arbiter does not know it (is it another one?)');
  await serves(pair);
  await pair.end();
});

/** Both sides of a pair that runs on the third host, from whatever image is there. */
async function elsewhere(pair: FakeVmPair, ...options: string[]): Promise<void> {
  const port = await freePort();
  for (const side of ['third', 'fourth']) {
    if (!existsSync(join(pair.dir, side))) {
      pair.configure(side);
      cpSync(imageOf(pair, 'third'), imageOf(pair, side));
    }
    const text = readFileSync(pair.toml(side), 'utf8');
    writeFileSync(pair.toml(side), text.replace(/primary = ".*"/, `primary = "127.0.0.1:${port}"`));
  }
  const env = { ...pair.env, UNDERSTUDY_STATE_DIR: join(pair.dir, 'elsewhere') };
  pair.running.push(start(['primary', pair.toml('third'), ...options], { env }));
  pair.running.push(start(['backup', pair.toml('fourth')], { env }));
}

stale(
  'a copy of an image whose VM runs is powered on: the VM that ran is fenced, and ends',
  async () => {
    const pair = await FakeVmPair.make();
    const { primary, backup } = await pair.startBoth();
    anotherHost(pair, 'primary', true);
    await elsewhere(pair);
    const [first, second] = [await primary.done, await backup.done];
    assert.equal([first.code, second.code], [12, 12], first.stderr + second.stderr);
    assert.match(first.stderr, /fenced: term 2 is held by primary \S+ on/);
    await pair.end();
  },
);

stale('a survivor beside which the operator powers on an older image ends as well', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  const survivor = pair.running[1];
  anotherHost(pair, 'primary', true);
  await elsewhere(pair, '--accept-older-image');
  const { code, stderr } = (await survivor?.done) ?? { code: null, stderr: '' };
  assert.is(code, 12, stderr);
  assert.match(stderr, /fenced: term 3 is held by primary \S+ on/);
  await pair.end();
});

stale('image info says which of two is the newest, and why the other is not', async () => {
  const pair = await FakeVmPair.make();
  await survived(pair);
  interface Info {
    readonly images: readonly {
      readonly newest: boolean | null;
      readonly older_because: string | null;
      readonly mark: { readonly term: number; readonly state: string; readonly generation: number };
    }[];
    readonly arbiter: { readonly generation: number; readonly holder: { readonly term: number } };
  }
  const info = async (what: string): Promise<Info> => {
    const { code, json } = await runJson(['image', 'info', what, '--json'], { env: pair.env });
    assert.is(code, 0);
    return json as unknown as Info;
  };
  const old = await info(pair.toml('primary'));
  assert.equal([old.arbiter.generation, old.arbiter.holder.term], [1, 2]);
  assert.is(old.images[0]?.newest, false);
  assert.match(old.images[0]?.older_because ?? '', /it is of term 1; .* with term 2/);
  const { images } = await info(pair.toml('backup'));
  assert.is(images[0]?.newest, true);
  const { term, state, generation } = images[0]?.mark ?? {};
  assert.equal([term, state, generation], [2, 'live', 1]);
  // An image alone: nobody is asked.
  assert.is((await info(imageOf(pair, 'backup'))).images[0]?.newest, null);

  const { stdout } = await run(['image', 'info', pair.toml('primary')], { env: pair.env });
  assert.match(stdout, /disk\.raw: older/);
  assert.match(stdout, /image\s+of generation 1, term 1, live/);
  assert.match(stdout, /whole\s+yes/);
  assert.match(stdout, /term\s+2, of backup \S+ on/);
  rmSync(markOf(pair, 'primary'));
  const bare = await run(['image', 'info', imageOf(pair, 'primary')], { env: pair.env });
  assert.match(bare.stdout, /mark\s+none: it was never protected/);
  const none = await run(['image', 'info', join(pair.dir, 'none.raw')], { env: pair.env });
  assert.is(none.code, 2);
  assert.match(none.stderr, 'there is no disk image');
  await pair.end();
});

stale.run();
