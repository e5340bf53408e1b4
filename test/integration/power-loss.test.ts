// SPDX-License-Identifier: Apache-2.0
/**
 * Both hosts die under load: the VM is powered on from the image that has all that clients were
 * told, and from no other without the operator's word.
 *
 *   npm test integration/power-loss
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { checkDisk } from '../../src/lab/survivor-disk.ts';
import { run } from '../lib/command.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, type Host, other, TwoHosts } from '../lib/two-hosts.ts';

const LONG_MS = 60_000;
const SOON_MS = 20_000;
const SEED = 7;
const loss = suite('power loss');

/** Two hosts for one test. */
async function play(
  protocol: string,
  test: (hosts: TwoHosts, newClient: () => Client, dir: string) => Promise<void>,
): Promise<void> {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  const dir = mkdtempSync(join(tmpdir(), 'understudy-power-loss-'));
  const network = makeNetwork();
  // A second without a sign: a term that a host's pause made is none of those that are asked about.
  const replication = [`protocol = "${protocol}"`, 'heartbeat_missed = 10'];
  const hosts = new TwoHosts({ dir, network, replication });
  const clients: Client[] = [];
  const newClient = (): Client => {
    const client = new Client(network, SEED);
    clients.push(client);
    return client;
  };
  try {
    await test(hosts, newClient, dir);
  } finally {
    for (const client of clients) client.kill();
    await hosts.destroy();
    network.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function protectedOn(hosts: TwoHosts, leader: Host, ...options: string[]): Promise<void> {
  hosts.start(leader, 'primary', ...options);
  hosts.start(other(leader), 'backup');
  await hosts.until(leader, 'protected', LONG_MS);
  await hosts.until(other(leader), 'standby', LONG_MS);
}

/** Under load from here on. */
async function loaded(client: Client): Promise<void> {
  const deadlineMs = performance.now() + SOON_MS;
  while (!client.connected) {
    assert.ok(performance.now() < deadlineMs, 'the client connects');
    await sleep(10);
  }
  await sleep(1500);
}

/** What the command says that must not start there. */
async function refusal(hosts: TwoHosts, host: Host): Promise<string> {
  const { code, stderr } = await run(['primary', hosts.toml(host)], {
    env: { UNDERSTUDY_STATE_DIR: hosts.stateRoot(host) },
    prefix: [...hosts.prefix],
    timeoutMs: LONG_MS,
  });
  assert.is(code, 2, stderr);
  return stderr;
}

/** After a power failure: a file system does what it does then, on a copy. */
async function hasAll(hosts: TwoHosts, host: Host, acknowledged: number, dir: string) {
  const copy = join(dir, 'copy.raw');
  execFileSync('cp', ['--sparse=always', hosts.image(host), copy]);
  const { status } = spawnSync('e2fsck', ['-fp', copy], { stdio: 'ignore' });
  assert.ok(status !== null && status <= 1, `e2fsck -p: ${status}`);
  const verdict = await checkDisk(copy, dir, SEED, acknowledged);
  rmSync(copy);
  assert.is(verdict.problem, '', `${acknowledged} were acknowledged`);
  assert.ok(acknowledged > 50, `${acknowledged} were acknowledged`);
}

for (const protocol of ['lockstep', 'remus', 'kemari']) {
  loss(`${protocol}: a protected pair, both killed`, () =>
    play(protocol, async (hosts, newClient, dir) => {
      await protectedOn(hosts, 'a');
      await hosts.serving('a', LONG_MS);
      const client = newClient();
      await loaded(client);
      await hosts.crashAll();
      const { acknowledged } = await client.finish();
      await hasAll(hosts, 'a', acknowledged, dir);
      const said = await refusal(hosts, 'b');
      assert.match(
        said,
        /b\/disk\.raw is not known to be the newest of VM "vm": .* followed term 1/,
      );
      assert.match(said, /the newest is the image of primary vm on .* with term 1/);
      cpSync(hosts.image('a'), hosts.image('b'));
      await protectedOn(hosts, 'a');
      await hosts.serving('a', LONG_MS);
    }),
  );

  loss(`${protocol}: after a take-over, both killed`, () =>
    play(protocol, async (hosts, newClient, dir) => {
      await protectedOn(hosts, 'a');
      await hosts.serving('a', LONG_MS);
      const client = newClient();
      await loaded(client);
      await hosts.crash('a');
      await hosts.until('b', 'needs-backup', SOON_MS);
      await sleep(1000);
      await hosts.crashAll();
      const { acknowledged } = await client.finish();
      await hasAll(hosts, 'b', acknowledged, dir);
      const said = await refusal(hosts, 'a');
      assert.match(said, /a\/disk\.raw .* it is of term 1; .* backup vm on .* with term 2/);
      cpSync(hosts.image('b'), hosts.image('a'));
      await protectedOn(hosts, 'b');
      await hosts.serving('b', LONG_MS);
    }),
  );
}

loss("the operator's word starts the older image, and then the other one is refused", () =>
  play('remus', async (hosts) => {
    await protectedOn(hosts, 'a');
    await hosts.serving('a', LONG_MS);
    await hosts.crashAll();
    cpSync(hosts.image('b'), hosts.image('a'));
    await protectedOn(hosts, 'b', '--accept-older-image');
    await hosts.serving('b', LONG_MS);
    await hosts.crashAll();
    assert.match(await refusal(hosts, 'a'), /followed term 1 .* primary vm on/);
  }),
);

loss('a VM that was stopped has its end on both sides', () =>
  play('kemari', async (hosts) => {
    await protectedOn(hosts, 'a');
    await hosts.serving('a', LONG_MS);
    await hosts.command('a', { cmd: 'stop' });
    assert.equal([await hosts.ended('a'), await hosts.ended('b')], [0, 0]);
    execFileSync('cmp', [hosts.image('a'), hosts.image('b')]);
    await protectedOn(hosts, 'b');
    await hosts.crashAll();
    assert.match(await refusal(hosts, 'a'), /followed term 1 .* primary vm on/);
  }),
);

loss.run();
