// SPDX-License-Identifier: Apache-2.0
/**
 * VMs of replicas, by rings whose guests are simulated: an output leaves when a majority has the
 * batch that has it; what is agreed on is replayed, and nothing else.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SHIP } from '../../bench/stand-ins/courier.ts';
import { tempDir, VM_ID } from '../../bench/stand-ins/logs.ts';
import { QuorumReplica } from '../../native/kvm-exit-log/index.ts';
import { GuestRing } from '../../native/kvm-exit-log/testing.ts';
import { hostClock } from '../../src/daemon/adapters.ts';
import { KIND } from '../../src/log/kinds.ts';
import { Mesh } from '../../src/quorum/mesh.ts';
import { freePort } from '../lib/free-port.ts';

const ALL = 1n << 40n;
const WAIT_MS = 20_000;

class Seat {
  readonly ring = new GuestRing();
  readonly id: number;
  replica: QuorumReplica;
  mesh: Mesh | null = null;
  readyTerm = 0;
  role = 'follower';
  console = '';
  broken: string | null = null;

  constructor(dir: string, id: number, ports: readonly number[], durable: boolean) {
    this.id = id;
    const places = ports.map((port, i) => ({ id: i + 1, host: '127.0.0.1', port }));
    mkdirSync(join(dir, String(id)));
    this.replica = new QuorumReplica(
      {
        dir: join(dir, String(id)),
        cluster: 9n,
        id,
        begins: places.map((place) => ({ id: place.id, address: `127.0.0.1:${place.port}` })),
        electionMs: 1000,
        heartbeatMs: 100,
        durable,
        executes: true,
        boot: 1n,
      },
      {
        role: (role) => {
          this.role = role;
        },
        ready: (term) => {
          this.readyTerm = term;
        },
        console: (bytes) => {
          this.console += bytes.toString('latin1');
        },
        failed: (reason) => {
          this.broken = reason;
        },
        broken: (reason) => {
          this.broken = reason;
        },
        closed: (peer, _code, message) => this.mesh?.closed(peer, message),
      },
    );
    this.replica.run(this.ring);
  }

  async join(ports: readonly number[]): Promise<void> {
    const places = ports.map((port, i) => ({ id: i + 1, host: '127.0.0.1', port }));
    const [own] = places.filter(({ id }) => id === this.id);
    assert.ok(own !== undefined);
    this.mesh = await Mesh.join({
      clock: hostClock,
      replica: this.replica,
      own,
      others: places.filter(({ id }) => id !== this.id),
      security: () => null,
      told: () => {},
      turnedAway: () => {},
    });
  }

  lead(): void {
    this.replica.lead({ vmId: VM_ID, term: this.readyTerm, seal: SHIP.seal });
  }

  says(icount: bigint): void {
    const of = { state: 'recording', ended: false, outputs: 0n, released: 0n, visits: 1n } as const;
    this.ring.says({ ...of, icount });
  }

  end(): void {
    this.mesh?.close();
    this.replica.destroy();
    this.ring.destroy();
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`${what} does not happen`);
    await sleep(2);
  }
}

async function seated(durable: boolean): Promise<{ seats: Seat[]; leader: Seat }> {
  const dir = tempDir('quorum-vm');
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const seats = [1, 2, 3].map((id) => new Seat(dir, id, ports, durable));
  await Promise.all(seats.map((seat) => seat.join(ports)));
  return { seats, leader: await ready(seats) };
}

/** One of these leads, and has all that was agreed on. */
async function ready(seats: readonly Seat[]): Promise<Seat> {
  const leads = (seat: Seat): boolean => seat.role === 'leader' && seat.readyTerm > 0;
  await until('an election', () => seats.some(leads));
  return seats.find(leads) as Seat;
}

/** It ends, and another one is elected. */
async function without(leader: Seat, seats: readonly Seat[]) {
  leader.end();
  const left = seats.filter((seat) => seat !== leader);
  for (const seat of left) seat.readyTerm = 0;
  return { left, next: await ready(left) };
}

const vms = suite('VMs of replicas');

for (const durable of [false, true]) {
  const how = durable ? 'synced by' : 'held by';
  vms(`an output leaves once it is ${how} a majority, and the others replay the same`, async () => {
    const { seats, leader } = await seated(durable);
    const others = seats.filter((seat) => seat !== leader);
    leader.lead();
    leader.ring.put(KIND.CHAR_OUT, 1n, 0, 0n, Buffer.from('first words'));
    leader.ring.put(KIND.NET_OUT, 2n, 60, 5n);
    leader.says(3n);
    await until('it leaves', () => leader.ring.status().commit === 2n);
    await until('it is shown', () => seats.every(({ console }) => console === 'first words'));
    await until('it comes to the others', () =>
      others.every(({ ring }) => ring.status().inPending === 2),
    );
    for (const { ring } of others) {
      assert.equal(
        ring.take(ALL).map(([ordinal, kind]) => [ordinal, kind]),
        [
          [0n, KIND.CHAR_OUT],
          [1n, KIND.NET_OUT],
        ],
      );
    }
    // Without a majority nothing leaves, however long it is waited for.
    for (const seat of others) seat.end();
    leader.ring.put(KIND.NET_OUT, 4n, 60, 5n);
    leader.says(5n);
    await until('it gives up', () => leader.role !== 'leader');
    await sleep(200);
    assert.is(leader.ring.status().commit, 2n);
    leader.end();
  });
}

vms('who is elected next goes on where what was agreed on ends', async () => {
  const { seats, leader } = await seated(false);
  leader.lead();
  leader.ring.put(KIND.CHAR_OUT, 1n, 0, 0n, Buffer.from('one '));
  leader.says(2n);
  await until('it leaves', () => leader.ring.status().commit === 1n);
  const { left, next } = await without(leader, seats);
  await until('it has all', () => next.replica.receiveFacts().empty);
  assert.is(next.ring.take(ALL).length, 1);
  next.ring.goesLive();
  next.says(3n);
  next.lead();
  next.ring.put(KIND.CHAR_OUT, 4n, 0, 0n, Buffer.from('two'));
  next.says(5n);
  await until('it leaves', () => next.ring.status().commit === 2n);
  const [last] = left.filter((seat) => seat !== next);
  await until('both have come', () => last?.ring.status().inPending === 2);
  assert.equal(
    last?.ring.take(ALL).map(([ordinal]) => ordinal),
    [0n, 1n],
  );
  await until('it is shown', () => left.every(({ console }) => console === 'one two'));
  for (const seat of left) {
    assert.is(seat.broken, null);
    seat.end();
  }
});

vms(
  'a leader that the others have left releases nothing, and hears that it leads no more',
  async () => {
    const { seats, leader } = await seated(false);
    const others = seats.filter((seat) => seat !== leader);
    leader.lead();
    leader.ring.put(KIND.NET_OUT, 1n, 60, 5n);
    leader.says(2n);
    await until('it leaves', () => leader.ring.status().commit === 1n);
    // Cut off from both, which have each other.
    leader.mesh?.close();
    for (const other of others) {
      leader.replica.drop(other.id);
      other.replica.drop(leader.id);
      other.readyTerm = 0;
    }
    leader.ring.put(KIND.NET_OUT, 3n, 60, 5n);
    leader.says(4n);
    const next = await ready(others);
    await until('it gives up', () => leader.role !== 'leader');
    assert.is(leader.ring.status().commit, 1n);
    await until('it has all', () => next.replica.receiveFacts().empty);
    // What the old one alone knew was never agreed on: nobody replays it.
    assert.is(next.ring.take(ALL).length, 1);
    for (const seat of seats) seat.end();
  },
);

vms('a VM that went live elsewhere than where the log ends is told of as broken', async () => {
  const { seats, leader } = await seated(false);
  leader.lead();
  leader.ring.put(KIND.NET_OUT, 1n, 60, 5n);
  leader.says(2n);
  await until('it leaves', () => leader.ring.status().commit === 1n);
  const { left, next } = await without(leader, seats);
  await until('it has all', () => next.replica.receiveFacts().empty);
  next.lead();
  await until('it is told', () => next.broken !== null);
  assert.match(next.broken ?? '', /QEMU went live at record 0/);
  for (const seat of left) seat.end();
});

vms.run();
