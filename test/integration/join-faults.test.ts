// SPDX-License-Identifier: Apache-2.0
/**
 * Either side is killed at every step of a join, the link is cut in the middle of one, a
 * disk is full: the VM goes on wherever it can, and nobody goes live who must not.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DemoNetwork, makeNetwork } from '../../src/lab/netns.ts';
import { run } from '../lib/command.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, type Host, JOIN_STEPS, TwoHosts } from '../lib/two-hosts.ts';

const STEPS = [...JOIN_STEPS, 'protected'] as const;
const SOON_MS = 20_000;
const JOIN_MS = 60_000;

interface Context {
  dir: string;
  network: DemoNetwork;
  hosts: TwoHosts;
}

const faults = suite<Context>('faults during a join');

faults.before.each((context) => {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-join-'));
  context.network = makeNetwork();
  context.hosts = new TwoHosts(context);
});
faults.after.each(async ({ dir, network, hosts }) => {
  await hosts.destroy();
  network.remove();
  rmSync(dir, { recursive: true, force: true });
});

/** A VM that is live on host a, and serves; nothing runs on host b. */
async function alone({ hosts, network }: Context, client: boolean): Promise<Client | null> {
  hosts.start('a', 'primary');
  hosts.start('b', 'backup');
  await hosts.until('a', 'protected', JOIN_MS);
  await hosts.serving('a', JOIN_MS);
  await hosts.crash('b');
  await hosts.until('a', 'needs-backup', SOON_MS);
  return client ? new Client(network, 1) : null;
}

/** Until the join has come to this step, or past it. @returns the step that was seen */
async function reached(hosts: TwoHosts, leader: Host, step: number): Promise<number> {
  const deadlineMs = performance.now() + JOIN_MS;
  for (;;) {
    const status = await hosts.status(leader);
    const words = status?.state === 'protected' ? 'protected' : (status?.reason ?? '');
    const at = STEPS.findLastIndex((name) => words.includes(name));
    if (at >= step) return at;
    if (performance.now() > deadlineMs) throw new Error(`it does not get to "${STEPS[step]}"`);
    await sleep(1);
  }
}

faults('the backup that joins is killed at each step: the VM goes on', async (context) => {
  const { hosts } = context;
  const client = await alone(context, true);
  try {
    for (const [step, name] of STEPS.entries()) {
      hosts.start('b', 'backup');
      const at = await reached(hosts, 'a', step);
      const termBefore = (await hosts.status('a'))?.term;
      await hosts.crash('b');
      const { term, reason } = await hosts.until('a', 'needs-backup', SOON_MS);
      assert.match(reason, 'lost', name);
      // Only who was told that it may take over has to be fenced.
      if (at < STEPS.length - 2) assert.is(term, termBefore, `at "${STEPS[at]}"`);
      if (name === 'protected') assert.is(term, (termBefore ?? 0) + 1);
    }
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', JOIN_MS);
    const result = await client?.finish();
    assert.is(result?.unanswered, 0);
    assert.is(result?.corrupted, 0);
    assert.is(result?.broken, 0);
  } finally {
    client?.kill();
  }
});

for (const [step, name] of STEPS.entries()) {
  faults(`the side that leads is killed at "${name}"`, async (context) => {
    const { hosts, dir } = context;
    await alone(context, false);
    hosts.start('b', 'backup');
    const at = await reached(hosts, 'a', step);
    await hosts.crash('a');
    if (STEPS[at] === 'protected') {
      await hosts.until('b', 'needs-backup', SOON_MS);
      return;
    }
    const { reason } = await hosts.until('b', 'starting', SOON_MS);
    assert.match(reason, 'looking for the primary');
    await hosts.crash('b');
    // Neither a half-copied image nor one of an older moment is powered on.
    const isMarked = existsSync(`${hosts.image('b')}.incomplete`);
    if (STEPS[at] === 'it replays what was executed meanwhile') assert.ok(isMarked);
    const toml = join(dir, 'b', 'VM.toml');
    const of = {
      env: { UNDERSTUDY_STATE_DIR: join(dir, 'b', 'state') },
      prefix: context.network.prefix,
      timeoutMs: 20_000,
    };
    const { code, stderr } = await run(['primary', toml, '--json'], of);
    assert.is(code, 2);
    const newest = /the newest is the image of primary \S+ on .* with term 2/;
    if (!isMarked) {
      assert.match(stderr, newest);
      return;
    }
    assert.match(
      stderr,
      /disk\.raw is half of one moment .*`understudy image info \S+VM\.toml` names/,
    );
    const { stdout } = await run(['image', 'info', toml], of);
    assert.match(stdout, /whole\s+no/);
    assert.match(stdout, /term\s+2, of primary \S+ on/);
  });
}

faults('the link is cut in the middle of a join, and mended: it joins again', async (context) => {
  const { hosts, network } = context;
  await alone(context, false);
  hosts.start('b', 'backup');
  await reached(hosts, 'a', STEPS.indexOf('copying memory'));
  network.cutLink();
  const { term } = await hosts.until('a', 'needs-backup', SOON_MS);
  assert.is(term, 2, 'no fence is needed');
  await hosts.until('b', 'starting', SOON_MS);
  network.mendLink();
  await hosts.until('a', 'protected', JOIN_MS);
  await hosts.until('b', 'standby', SOON_MS);
});

faults(
  'no room at the backup in the middle: it ends with the reason, the VM goes on',
  async (context) => {
    const { hosts, dir } = context;
    const client = await alone(context, true);
    const state = join(dir, 'b', 'state');
    // Less than a guest's memory has, compressed.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'understudy-test', state]);
    try {
      hosts.start('b', 'backup');
      assert.is(await hosts.ended('b'), 1);
      const why = /no space left while writing .*joined\/incoming\/ram: free some space/;
      assert.match(hosts.stderr('b'), why);
      const { reason, term } = await hosts.until('a', 'needs-backup', SOON_MS);
      assert.match(reason, why);
      assert.is(term, 2, 'no fence is needed');
      const result = await client?.finish();
      assert.is(result?.unanswered, 0);
      assert.is(result?.corrupted, 0);
    } finally {
      client?.kill();
      execFileSync('umount', [state]);
    }
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', JOIN_MS);
  },
);

faults('no room for the checkpoint: no join, the reason on both sides', async (context) => {
  const { hosts, dir } = context;
  const state = join(dir, 'a', 'state');
  mkdirSync(state);
  // 64 MiB of it are left to the log.
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=80m,mode=0700', 'understudy-test', state]);
  try {
    await alone(context, false);
    hosts.start('b', 'backup');
    const deadlineMs = performance.now() + JOIN_MS;
    const says = (side: string): boolean => side.includes('no checkpoint could be made');
    let said = '';
    // The backup is told a little later than the side that leads knows.
    while (!(says(said) && says(hosts.stderr('b'))) && performance.now() < deadlineMs) {
      const status = await hosts.status('a');
      if (!says(said)) said = status?.state === 'needs-backup' ? status.reason : '';
      await sleep(5);
    }
    assert.match(said, 'no checkpoint could be made');
    assert.is((await hosts.status('a'))?.outputs_stopped ?? null, null);
    assert.match(hosts.stderr('b'), 'no checkpoint could be made');
  } finally {
    await hosts.destroy();
    execFileSync('umount', [state]);
  }
});

faults.run();
