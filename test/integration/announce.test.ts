// SPDX-License-Identifier: Apache-2.0
/**
 * The network learns where the VM went. Client and hosts have a switch each, which
 * learn; the guest is quiet, and uses addresses that nobody configured for its NIC: another
 * MAC address, a VLAN, a macvlan device, IPv6. Each answers soon after a take-over.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { root, scratch } from '../lib/command.ts';
import { ask } from '../lib/fake-vm-pair.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const announce = suite('announcements');

const BOOT_MS = 240_000;
/** From the kill to an answer; without announcements neighbours ask again after 5 s or more. */
const STALL_MS = 2000;
/** A neighbour's entry is not changed again before (Linux, arp locktime). */
const LOCKED_MS = 1100;
/** Time of all rounds of announcements (qemu/exitlog/exits/announce.c), and some. */
const ROUNDS_MS = 1200;

/** How long they are asked. */
const PATIENCE_MS = 20_000;

/** Each line in: who answers a new connection, and after how many ms. */
const KNOCKER = `
const net = require('net');
const hosts = process.argv.slice(1);
const knock = (host) => new Promise((resolve) => {
  const begun = performance.now();
  const sockets = [];
  const one = () => {
    const socket = net.connect({ host, port: 7 });
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('connect', () => {
      clearInterval(timer);
      for (const each of sockets) each.destroy();
      resolve(performance.now() - begun);
    });
  };
  const timer = setInterval(() => {
    if (performance.now() - begun < ${PATIENCE_MS}) return one();
    clearInterval(timer);
    resolve(performance.now() - begun);
  }, 50);
  one();
});
process.stdin.on('data', async () => {
  const all = await Promise.all(hosts.map(async (host) => [host, await knock(host)]));
  console.log(JSON.stringify(Object.fromEntries(all)));
});
`;

const GUEST = [
  // Each device answers for its own addresses.
  'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore',
  'for f in /proc/sys/net/ipv6/conf/*/router_solicitations; do echo 0 >$f; done',
  'ip link set eth0 down; ip link set eth0 address 02:00:00:00:77:02; ip link set eth0 up',
  'for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done',
  'ip -6 addr add fd77::2/64 dev eth0',
  'ip link add link eth0 name mv0 type macvlan; ip link set mv0 address 02:00:00:00:77:03',
  'ip addr add 10.77.3.2/24 dev mv0; ip link set mv0 up',
  'ip link add link eth0 name v5 type vlan id 5; ip link set v5 address 02:00:00:00:77:05',
  'ip addr add 10.77.5.2/24 dev v5; ip addr add 10.77.5.9/24 dev v5; ip link set v5 up',
  'ip link add link eth0 name v7 type vlan protocol 802.1ad id 7; ip link set v7 up',
  'ip link add link v7 name v75 type vlan id 5; ip link set v75 address 02:00:00:00:77:75',
  'ip addr add 10.77.75.2/24 dev v75; ip link set v75 up',
  'us-server &',
];
const HOSTS = ['10.77.0.2', 'fd77::2', '10.77.3.2'];
/** VLAN, MAC address, IP address: by a program, since not each host's kernel has VLANs. */
const TAGGED = [
  ['5', '02:00:00:00:77:05', '10.77.5.2'],
  ['7.5', '02:00:00:00:77:75', '10.77.75.2'],
] as const;
/** It moves away before the take-over. */
const MOVED = ['5', '02:00:00:00:77:05', '10.77.5.9'] as const;
const ANNOUNCED = [
  'rarp 02:00:00:00:77:02 0',
  'arp 02:00:00:00:77:02 0 10.77.0.2',
  'na 02:00:00:00:77:02 0 fd77::2',
  'rarp 02:00:00:00:77:03 0',
  'arp 02:00:00:00:77:03 0 10.77.3.2',
  'rarp 02:00:00:00:77:05 5',
  'arp 02:00:00:00:77:05 5 10.77.5.2',
  'rarp 02:00:00:00:77:75 7.5',
  'arp 02:00:00:00:77:75 7.5 10.77.75.2',
];
const ROUNDS = 5;

const dir = scratch('announce');
const STATION = join(dir, 'station');
execFileSync('cc', ['-O2', '-Wall', '-o', STATION, join(root, 'test/lib/station.c')]);

/** Asks every neighbour; host or VLAN, and after how many ms it answered. */
class Asker {
  readonly #pair: Pair;
  readonly #knocker: ChildProcess;
  #text = '';

  constructor(pair: Pair) {
    this.#pair = pair;
    // `client` gives the guest's address first.
    this.#knocker = pair.client(KNOCKER, ...HOSTS.slice(1));
    this.#knocker.stdout?.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString();
    });
  }

  async one([vlan, mac, ip]: readonly [string, string, string]): Promise<number> {
    const own = ip.replace(/\d+$/, '1');
    return Number(await this.#pair.output(STATION, 'knock', 'br0', vlan, mac, ip, own));
  }

  async all(what: string): Promise<Record<string, number>> {
    this.#text = '';
    this.#knocker.stdin?.write('now\n');
    const tagged = TAGGED.map(async (one) => [one[2], await this.one(one)] as const);
    const [answers] = await Promise.all([
      Promise.all(tagged),
      this.#pair.until(what, () => this.#text.endsWith('\n'), 2 * PATIENCE_MS),
    ]);
    return { ...(JSON.parse(this.#text) as object), ...Object.fromEntries(answers) };
  }
}

announce('a quiet guest answers at every address that it uses', async () => {
  const reference = await referenceGuest();
  const test = await testGuest(new Progress({ quietDone: true }));
  const guest = { ...reference, ...test, append: `${reference.append} ${test.append}` };
  const pair = Pair.start(dir, guest, [], { runs: 'us.run=shell', switches: 'three' });
  try {
    pair.ip('addr', 'add', '10.77.3.1/24', 'dev', 'br0');
    pair.ip('addr', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad');
    const sock = join(pair.stateDir('primary'), 'status.sock');
    const said = (text: string) => () => pair.console('primary').includes(text);
    await pair.until('a prompt', said('guest# '), BOOT_MS);
    for (const line of GUEST) await ask(sock, { cmd: 'console-input', text: `${line}\n` });
    await pair.until('the service listens', said('listening'), BOOT_MS);
    const asker = new Asker(pair);
    const before = await asker.all('all answer');
    assert.ok(Math.max(...Object.values(before)) < PATIENCE_MS, JSON.stringify(before));
    assert.ok((await asker.one(MOVED)) < PATIENCE_MS);
    await pair.output(STATION, 'claim', 'br0', MOVED[0], '02:00:00:00:00:99', MOVED[2]);
    const watcher = pair.spawn(STATION, 'watch', 'br0');
    let seen = '';
    watcher.stdout?.on('data', (bytes: Buffer) => {
      seen += bytes.toString();
    });
    // Neighbours that have it wrong are put right by ARP and by neighbour discovery.
    for (const address of ['10.77.3.2', 'fd77::2']) {
      const wrong = ['lladdr', '02:00:00:00:00:99', 'dev', 'br0', 'nud', 'stale'];
      pair.ip('neigh', 'replace', address, ...wrong);
    }
    await sleep(LOCKED_MS);
    pair.signal('primary', 'SIGKILL');
    const stalls = await asker.all('all answer after the take-over');
    for (const [host, ms] of Object.entries(stalls)) {
      assert.ok(ms < STALL_MS, `${host} answered after ${ms} ms: ${JSON.stringify(stalls)}`);
    }
    await sleep(ROUNDS_MS);
    const lines = seen.split('\n');
    for (const line of ANNOUNCED) {
      const count = lines.filter((one) => one === line).length;
      assert.is(count, ROUNDS, `${line}: ${count} times\n${seen}`);
    }
    assert.not.match(seen, MOVED[2], 'what another station has is not claimed');
    await pair.until('the backup lives', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
  } finally {
    await pair.end();
  }
});

announce.run();
