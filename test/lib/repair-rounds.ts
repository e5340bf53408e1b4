// SPDX-License-Identifier: Apache-2.0
/** Rounds of {a side dies or hands over, a new backup joins} on one VM and one connection. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientResult } from '../../src/lab/client-events.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { checkDisk, type DiskVerdict } from '../../src/lab/survivor-disk.ts';
import { Random } from '../simulation/random.ts';
import { Client, HOSTS, type Host, other, TwoHosts, type TwoHostsOptions } from './two-hosts.ts';

export type Event = 'kill' | 'promote';

export interface Round {
  readonly event: Event;
  /** Whose VM was live, and what happened to which side. */
  readonly leader: Host;
  readonly victim: Host;
  /** The longest time without an answer, from the event until the new backup begins. */
  readonly stallMs: number;
  /** The same, while it joins. */
  readonly joinStallMs: number;
  /** The new backup's start to a protected VM. */
  readonly joinMs: number;
}

export interface RoundsResult {
  readonly rounds: readonly Round[];
  readonly client: ClientResult;
  /** Whether both sides' disks are the same, byte by byte. */
  readonly disksEqual: boolean;
  /** Null: a guest whose service is not ended in order. */
  readonly disk: DiskVerdict | null;
}

export interface RoundsOptions {
  readonly dir: string;
  readonly seed: number;
  readonly events: readonly Event[];
  readonly vm?: Pick<TwoHostsOptions, 'machine' | 'busy' | 'memory' | 'replication'>;
  readonly onRound: (round: Round, index: number) => void;
  readonly stopped?: () => boolean;
}

const PROTECTED_MS = 60_000;
const LIVE_MS = 20_000;
const SETTLED_MS_MAX = 400;
const nowMs = (): number => performance.timeOrigin + performance.now();

/** @throws Error when a round does not come to its end */
export async function playRounds(options: RoundsOptions): Promise<RoundsResult> {
  const network = makeNetwork();
  const hosts = new TwoHosts({ ...options.vm, dir: options.dir, network });
  let client: Client | null = null;
  try {
    hosts.start('a', 'primary');
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', PROTECTED_MS);
    await hosts.serving('a', PROTECTED_MS);
    client = new Client(network, options.seed);
    await connected(client);
    return await play(options, hosts, client);
  } finally {
    client?.kill();
    await hosts.destroy();
    network.remove();
  }
}

async function connected(client: Client): Promise<void> {
  for (let waited = 0; !client.connected; waited += 50) {
    if (waited > 60_000) throw new Error('the client did not connect');
    await sleep(50);
  }
}

async function play(
  { events, seed, dir, vm, onRound, stopped }: RoundsOptions,
  hosts: TwoHosts,
  client: Client,
): Promise<RoundsResult> {
  const random = new Random(seed);
  const rounds: Round[] = [];
  let leader: Host = 'a';
  for (const [index, event] of events.entries()) {
    if (stopped?.() === true) break;
    await sleep(50 + random.next() * SETTLED_MS_MAX);
    const victim: Host = event === 'promote' || random.next() < 0.5 ? leader : other(leader);
    const fromMs = nowMs();
    if (event === 'kill') await hosts.crash(victim);
    else await handOver(hosts, random.next() < 0.5 ? leader : other(leader), leader);
    const next: Host = victim === leader ? other(leader) : leader;
    await hosts.until(next, 'needs-backup', LIVE_MS);
    await sleep(50 + random.next() * 100); // a gap is told of when it has ended
    const stallMs = client.stallMs(fromMs);
    const joinFromMs = nowMs();
    hosts.start(other(next), 'backup');
    await hosts.until(next, 'protected', PROTECTED_MS);
    await hosts.until(other(next), 'standby', LIVE_MS);
    const joinMs = nowMs() - joinFromMs;
    await sleep(30); // a gap is told of when it has ended
    const round: Round = {
      event,
      leader,
      victim,
      stallMs,
      joinStallMs: client.stallMs(joinFromMs),
      joinMs,
    };
    rounds.push(round);
    onRound(round, index);
    leader = next;
  }
  const result = await client.finish();
  await hosts.command(leader, { cmd: 'stop', powerdown: true });
  await Promise.all(HOSTS.map((host) => hosts.ended(host)));
  const [a, b] = HOSTS.map((host) => readFileSync(hosts.image(host)));
  const disk =
    vm?.busy === true ? null : await checkDisk(hosts.image(leader), dir, seed, result.acknowledged);
  const disksEqual = a !== undefined && b !== undefined && a.equals(b);
  return { rounds, client: result, disksEqual, disk };
}

async function handOver(hosts: TwoHosts, asked: Host, leader: Host): Promise<void> {
  const answer = await hosts.command(asked, { cmd: 'promote' });
  if (answer?.ok !== true) throw new Error(`promote was refused: ${JSON.stringify(answer)}`);
  const code = await hosts.ended(leader);
  if (code !== 0) throw new Error(`the side that handed over ended with ${code}`);
}

/** What is wrong with it, for people; '' when nothing was lost. */
export function problemOf({ client, disksEqual, disk }: RoundsResult): string {
  const problems: string[] = [];
  if (client.unanswered > 0) problems.push(`${client.unanswered} requests were never answered`);
  if (client.corrupted > 0) problems.push(`${client.corrupted} answers were wrong`);
  if (client.broken > 0) problems.push("the client's connection broke");
  if (!disksEqual) problems.push('the disks of the two sides differ');
  if (disk !== null && (!disk.clean || disk.problem !== '')) problems.push(`disk: ${disk.problem}`);
  return problems.join('; ');
}
