// SPDX-License-Identifier: Apache-2.0
/**
 * A replica as a process of its own: settings are its argument, JSON; lines of stdin are proposed;
 * lines of stdout say what happens.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { QuorumReplica, type Security } from '../../native/kvm-exit-log/index.ts';
import { hostClock } from '../../src/daemon/adapters.ts';
import { Mesh } from '../../src/quorum/mesh.ts';
import { sideName } from '../../src/vm/sides.ts';
import { keysIn } from './keyed-links.ts';
import type { SideSettings } from './quorum-sides.ts';

const given = JSON.parse(process.argv[2] ?? '') as SideSettings;
const say = (event: string, more: object = {}): void => {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
};

const isNew = !existsSync(given.dir);
mkdirSync(given.dir, { recursive: true });
const places = given.ports.map((port, i) => ({ id: i + 1, host: '127.0.0.1', port }));
const members = places.map(({ id, port }) => ({ id, address: `127.0.0.1:${port}` }));
const own = places[given.id - 1];
if (own === undefined) throw new Error('no such replica');
const security: Security | null =
  given.keys === null ? null : { keys: keysIn(given.keys), peerName: sideName('shop', 'replica') };

let mesh: Mesh | null = null;
const replica = new QuorumReplica(
  {
    dir: given.dir,
    cluster: BigInt(given.cluster),
    id: given.id,
    begins: isNew ? members : null,
    electionMs: 1000,
    heartbeatMs: 100,
    durable: given.durable,
    executes: false,
    boot: 1n,
  },
  {
    opened: () => say('opened'),
    role: (role, term) => say('role', { role, term }),
    leader: (id) => say('leader', { id }),
    committed: (index, bytes) => say('committed', { index, text: bytes.toString() }),
    closed: (peer, code, message) => {
      say('closed', { peer, code, message });
      mesh?.closed(peer, message);
    },
    failed: (reason) => say('failed', { reason }),
    ended: () => say('ended'),
  },
);
mesh = await Mesh.join({
  clock: hostClock,
  replica,
  own,
  others: places.filter(({ id }) => id !== given.id),
  security: () => security,
  told: (id, problem) => say('peer', { id, problem }),
  turnedAway: (remote, reason) => say('turned-away', { remote, reason }),
});
createInterface(process.stdin)
  .on('line', (line) => {
    if (line === 'facts') {
      const { role, leader, connected } = replica.facts();
      say('facts', { role, leader, connected });
    } else replica.propose(Buffer.from(line));
  })
  .on('close', () => {
    mesh?.close();
    replica.destroy();
  });
