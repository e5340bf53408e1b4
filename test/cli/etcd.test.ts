// SPDX-License-Identifier: Apache-2.0
/** The arbiter on a real etcd of three members, with certificates and users. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Arbiter, type ArbiterAccess, NO_ACCESS } from '../../src/arbiter/arbiter.ts';
import { etcdArbiter } from '../../src/arbiter/etcd.ts';
import { openArbiter } from '../../src/arbiter/registry.ts';
import { arbiterContract, claimant, VM } from '../lib/arbiter-contract.ts';
import { TestAuthority } from '../lib/certificates.ts';
import { run } from '../lib/command.ts';
import { EtcdCluster } from '../lib/etcd-cluster.ts';
import { FakeVmPair, sleep } from '../lib/fake-vm-pair.ts';
import { freePort } from '../lib/free-port.ts';
import { runRaces } from '../lib/races.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-etcd-'));
const authority = new TestAuthority(join(dir, 'authority'));
const tls = authority.issue('host');
const passwordFile = join(dir, 'password');
writeFileSync(passwordFile, 'of the daemon\n', { mode: 0o600 });
const cluster = await EtcdCluster.start({ dir: join(dir, 'cluster'), tls });
await cluster.enableUsers('daemon', 'of the daemon', '/pairs/');
const access: ArbiterAccess = {
  ...NO_ACCESS,
  ...tls,
  user: 'daemon',
  passwordFile,
  prefix: '/pairs/',
};

const etcd = suite('etcd');
etcd.after(async () => {
  await cluster.remove();
  rmSync(dir, { recursive: true, force: true });
});

let prefixes = 0;

function arbiter(more: Partial<ArbiterAccess> = {}): Arbiter {
  prefixes += 1;
  return etcdArbiter(cluster.urls, { ...access, prefix: `/pairs/${prefixes}/`, ...more });
}

/** Why it decides nothing. */
async function refusal(asked: Arbiter): Promise<string> {
  const claim = await asked.claim(VM, 1, claimant('primary'));
  assert.is(claim.result, 'unreachable');
  const reason = claim.result === 'unreachable' ? claim.reason : '';
  assert.match(reason, `the arbiter etcd:${cluster.urls} cannot decide: `);
  return reason;
}

arbiterContract(etcd, () => arbiter());

etcd('whoever is not trusted, or may not write there, is refused, and says why', async () => {
  const stranger = new TestAuthority(join(dir, 'stranger')).issue('host');
  assert.match(await refusal(arbiter({ ca: stranger.ca })), /certificate/);
  assert.match(
    await refusal(arbiter({ cert: null, key: null })),
    /certificate|alert|ECONNRESET|hang up/,
  );
  const { cert, key } = stranger;
  assert.match(await refusal(arbiter({ cert, key })), /certificate|alert|ECONNRESET|hang up/);
  const named = authority.issue('named', '/CN=named');
  assert.match(await refusal(arbiter(named)), 'replication.etcd.cert must have no common name');
  assert.match(await refusal(arbiter({ user: null })), /permission denied|user name is empty/);
  assert.match(await refusal(arbiter({ user: 'nobody' })), 'authentication failed');
  const elsewhere = arbiter({ prefix: '/others/' });
  assert.match(await refusal(elsewhere), 'permission denied');
  assert.match((await elsewhere.probe()) ?? '', 'permission denied');
  // As where the gateway is off.
  const other = createServer((_, response) => response.writeHead(404).end('404 page not found'));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  const none = await etcdArbiter(`http://127.0.0.1:${port}`, NO_ACCESS).probe();
  assert.match(none ?? '', /does not serve \/v3\/kv\/txn .*404.*--enable-grpc-gateway/);
  other.close();
  const plain = etcdArbiter(cluster.urls.replaceAll('https', 'http'), NO_ACCESS);
  assert.match((await plain.probe()) ?? '', 'cannot decide');
});

etcd('a file of VM.toml that is missing is named', () => {
  const open = () => openArbiter(`etcd:${cluster.urls}`, { ...access, ca: join(dir, 'none.pem') });
  assert.throws(open, /a file of replication\.etcd cannot be used: .*none\.pem/);
});

etcd('a key that something else has written is no term', async () => {
  const prefix = '/pairs/by-hand/';
  const own = arbiter({ prefix });
  await own.claim(VM, 1, claimant('primary'));
  // As an operator's put: the version grows, the holder does not change.
  const { EtcdMembers } = await import('../../src/arbiter/etcd-members.ts');
  const members = new EtcdMembers(cluster.urls.split(','), access);
  const key = Buffer.from(prefix + VM).toString('base64');
  const { kvs } = (await members.ask('/v3/kv/range', { key }, 5000)) as {
    kvs: { value: string }[];
  };
  await members.ask('/v3/kv/put', { key, value: kvs[0]?.value }, 5000);
  assert.match(await refusal(own), 'the key of term 1 was written 2 times');
});

/** The lines of VM.toml. */
const replication = `[replication.etcd]
ca = "${tls.ca}"
cert = "${tls.cert}"
key = "${tls.key}"
user = "daemon"
password_file = "${passwordFile}"
prefix = "/pairs/"`;

etcd('a pair: the survivor wins the fence, and a stale primary is refused', async () => {
  const pair = await FakeVmPair.make(replication, `etcd:${cluster.urls}`);
  const { primary } = await pair.startBoth();
  const well = await pair.until('backup', (status) => status.arbiter_answer_ms !== null);
  assert.is(well.arbiter_problem, null);
  primary.child.kill('SIGKILL');
  const { term } = await pair.until('backup', (status) => status.state === 'needs-backup');
  assert.is(term, 2);
  // Both hosts are this one, and the survivor listens where the primary did.
  const text = readFileSync(pair.toml('primary'), 'utf8');
  const other = `primary = "127.0.0.1:${await freePort()}"`;
  writeFileSync(pair.toml('primary'), text.replace(/^primary = .*$/m, other));
  const { code, stderr } = await run(['primary', pair.toml('primary')], { env: pair.env });
  assert.is(code, 2, stderr);
  assert.match(stderr, /it is of term 1; the newest is the image of backup \S+ on .* with term 2/);
  await pair.end();
});

etcd('without a majority nobody goes on alone, and status says so before and after', async () => {
  const pair = await FakeVmPair.make(replication, `etcd:${cluster.urls}`);
  const { primary } = await pair.startBoth();
  await cluster.kill(0);
  await cluster.kill(1);
  try {
    const sick = await pair.until('backup', (status) => status.arbiter_problem !== null);
    assert.match(sick.arbiter_problem ?? '', /no member answered|no leader/);
    const { code, stdout } = await run(['status', pair.name], { env: pair.env });
    assert.is(code, 4, stdout);
    assert.match(stdout, /arbiter .*no leader: it sees no majority of the members/);
    primary.child.kill('SIGKILL');
    await pair.until('backup', (status) => /waiting: .*no majority/.test(status.reason));
    await sleep(3000);
    const { state, term } = await pair.until('backup', () => true);
    assert.equal([state, term], ['syncing', 1], 'it holds');
  } finally {
    cluster.run(0);
    cluster.run(1);
    await cluster.well();
  }
  await pair.until('backup', (status) => status.state === 'needs-backup');
  await pair.end();
});

etcd('races for a term with members killed, paused and cut off: one winner each', async () => {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  const { problems, races, byFault } = await runRaces({ count: 28, seed: 20, stderr: 'ignore' });
  assert.equal(problems, []);
  assert.is(races, 28);
  assert.is(Object.keys(byFault).length, 7);
});

etcd.run();
