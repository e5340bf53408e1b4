// SPDX-License-Identifier: Apache-2.0
/**
 * The demo with a real etcd of three members as its arbiter, over TLS, each on a host of its own. It
 * makes their switch, so it runs in a network namespace of its own:
 *
 *   unshare --net npx tsx test/lib/etcd-demo.ts JSON     (EtcdDemo)
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isFlawless } from '../../src/demo/summary.ts';
import type { ProtocolName } from '../../src/epochs/registry.ts';
import type { AccelName } from '../../src/vm/accel/registry.ts';
import { type PlayOptions, playBuilt } from './built-demo.ts';
import { TestAuthority } from './certificates.ts';
import { EtcdCluster, HOST_ADDRESSES, plugIn } from './etcd-cluster.ts';

export interface EtcdDemo extends PlayOptions {
  readonly protocol: ProtocolName;
  readonly accel: AccelName;
  readonly vcpus: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as EtcdDemo;
const dir = mkdtempSync(join(tmpdir(), 'understudy-etcd-demo-'));
try {
  const authority = new TestAuthority(join(dir, 'authority'));
  const tls = authority.issue('host', '/O=host', HOST_ADDRESSES);
  const cluster = await EtcdCluster.start({ dir: join(dir, 'etcd'), hosts: true, tls });
  try {
    const result = await playBuilt({
      ...options,
      arbiter: ({ name }) => {
        plugIn(name);
        const files = Object.entries(tls).map(([key, path]) => `${key} = ${JSON.stringify(path)}`);
        return { url: `etcd:${cluster.urls}`, tables: ['[replication.etcd]', ...files] };
      },
    });
    console.log(JSON.stringify(result));
    process.exitCode = isFlawless(result) ? 0 : 1;
  } finally {
    await cluster.remove();
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
