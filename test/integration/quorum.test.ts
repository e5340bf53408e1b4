// SPDX-License-Identifier: Apache-2.0
/** A VM of three replicas, with real guests: one connection outlives whoever leads. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
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

async function answered(client: Client, more: number): Promise<void> {
  const wanted = client.answered + more;
  const deadlineMs = performance.now() + 60_000;
  while (client.answered < wanted) {
    if (performance.now() > deadlineMs) throw new Error(`${client.answered} of ${wanted} answers`);
    await sleep(50);
  }
}

const quorum = suite('a VM of replicas');

quorum('its leader is killed: the next one goes on, and nothing is lost', async () => {
  await withHosts({ replication: () => PATIENT }, async (hosts, connect) => {
    const [leader = 0] = await hosts.until('protected', 1, 120_000);
    const others = IDS.filter((id) => id !== leader);
    await hosts.until('standby', 2, 60_000, others);
    await hosts.serving(leader, 120_000);
    const client = connect();
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

quorum.run();
