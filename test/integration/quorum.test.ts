// SPDX-License-Identifier: Apache-2.0
/** A VM of three replicas, with real guests: one connection outlives whoever leads. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { tempAuthority } from '../lib/keyed-links.ts';
import { IDS, QuorumHosts, type QuorumHostsOptions } from '../lib/quorum-hosts.ts';
import { Client } from '../lib/two-hosts.ts';

/** A host that has no time for one of them elects another. */
const PATIENT = ['heartbeat_missed = 20'];

async function withHosts(
  more: Pick<QuorumHostsOptions, 'replication'>,
  work: (hosts: QuorumHosts, client: () => Client) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'us-quorum-'));
  const network = makeNetwork();
  const hosts = new QuorumHosts({ dir, network, ...more });
  const clients: Client[] = [];
  try {
    for (const id of IDS) hosts.start(id);
    await work(hosts, () => {
      const client = new Client(network, 1 + clients.length);
      clients.push(client);
      return client;
    });
  } catch (error) {
    console.error(await hosts.describe());
    throw error;
  } finally {
    for (const client of clients) client.kill();
    await hosts.destroy();
    network.remove();
    rmSync(dir, { recursive: true });
  }
}

/** Powered on, all there, and a client connected to the guest's service. */
async function served(hosts: QuorumHosts, connect: () => Client) {
  const [leader = 0] = await hosts.until('protected', 1, 120_000);
  const others = IDS.filter((id) => id !== leader);
  await hosts.until('standby', 2, 60_000, others);
  await hosts.serving(leader, 120_000);
  return { leader, others, client: connect() };
}

async function answered(client: Client, more: number): Promise<void> {
  const wanted = client.answered + more;
  const deadlineMs = performance.now() + 60_000;
  while (client.answered < wanted) {
    if (performance.now() > deadlineMs) throw new Error(`${client.answered} of ${wanted} answers`);
    await sleep(50);
  }
}

/** Until that process is no more. */
async function vanished(pid: number): Promise<void> {
  assert.ok(pid > 0);
  const deadlineMs = performance.now() + 30_000;
  while (existsSync(`/proc/${pid}`)) {
    if (performance.now() > deadlineMs) throw new Error(`process ${pid} is still there`);
    await sleep(10);
  }
}

const quorum = suite('a VM of replicas');

quorum('its leader is killed: the next one goes on, and nothing is lost', async () => {
  await withHosts({ replication: () => PATIENT }, async (hosts, connect) => {
    const { leader, others, client } = await served(hosts, connect);
    await answered(client, 200);
    await hosts.crash(leader);
    const [next = 0] = await hosts.until('protected', 1, 60_000, others);
    await answered(client, 200);
    const result = await client.finish();
    assert.equal(
      [result.unanswered, result.corrupted, result.duplicated, result.broken],
      [0, 0, 0, 0],
    );
    assert.match(hosts.stderr(next), /took-over/);
    // The END is agreed on, so both end.
    await hosts.command(next, { cmd: 'stop' });
    assert.equal(await Promise.all(others.map((id) => hosts.ended(id))), [0, 0]);
  });
});

quorum(
  'a leader that stands still is deposed, ends its VM, and votes for the next ones',
  async () => {
    await withHosts({ replication: () => PATIENT }, async (hosts, connect) => {
      const [leader = 0] = await hosts.until('protected', 1, 120_000);
      const others = IDS.filter((id) => id !== leader);
      await hosts.until('standby', 2, 60_000, others);
      await hosts.serving(leader, 120_000);
      const client = connect();
      await answered(client, 200);
      const before = await hosts.status(leader);
      hosts.signal(leader, 'SIGSTOP');
      // Its QEMU runs on, and nothing of it may leave: the client would see two VMs.
      const [next = 0] = await hosts.until('protected', 1, 60_000, others);
      await answered(client, 100);
      hosts.signal(leader, 'SIGCONT');
      await hosts.until('needs-backup', 1, 60_000, [leader]);
      const deposed = await hosts.status(leader);
      assert.match(deposed?.reason ?? '', /runs no VM .*leads now/);
      await vanished(before?.qemu_pid ?? 0);
      // There is a majority with its vote alone.
      const [last = 0] = others.filter((id) => id !== next);
      await hosts.crash(last);
      await answered(client, 100);
      const result = await client.finish();
      assert.equal(
        [result.unanswered, result.corrupted, result.duplicated, result.broken],
        [0, 0, 0, 0],
      );
    });
  },
);

quorum('with a witness, keys and a synced log: who is left goes on', async () => {
  const authority = tempAuthority();
  const keys = authority.issue('vm', 'replica');
  const files = ['ca', 'cert', 'key'].map((name) => `${name} = "${keys}/${name}.pem"`);
  const replication = (id: number): string[] => [
    ...PATIENT,
    'durability = "disk"',
    ...(id === 3 ? ['witness = true'] : []),
    '[replication.tls]',
    ...files,
  ];
  await withHosts({ replication }, async (hosts, connect) => {
    const { leader, client } = await served(hosts, connect);
    assert.is.not(leader, 3);
    const witness = await hosts.status(3);
    assert.match(witness?.reason ?? '', /it is a witness/);
    assert.is(witness?.qemu_pid, null);
    await answered(client, 50);
    await hosts.crash(leader);
    const [next = 0] = await hosts.until(
      'protected',
      1,
      60_000,
      [1, 2].filter((id) => id !== leader),
    );
    await answered(client, 50);
    // The witness gone too, there is no majority: nothing is answered until it is back.
    await hosts.crash(3);
    await hosts.until('syncing', 1, 60_000, [next]);
    const alone = await hosts.status(next);
    assert.match(alone?.reason ?? '', /outputs wait for a majority: there are 1 of 3/);
    await sleep(1000);
    const before = client.answered;
    await sleep(2000);
    assert.is(client.answered, before);
    hosts.start(3);
    await hosts.until('protected', 1, 60_000, [next]);
    await answered(client, 50);
    const result = await client.finish();
    assert.equal(
      [result.unanswered, result.corrupted, result.duplicated, result.broken],
      [0, 0, 0, 0],
    );
  });
});

quorum.run();
