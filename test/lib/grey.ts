// SPDX-License-Identifier: Apache-2.0
/**
 * One grey failure of a protected VM under the demo's load: a host that falls sick and does not
 * die. Each has its state folder, and its image, on a disk of its own.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DemoNetwork, makeNetwork } from '../../src/lab/netns.ts';
import { checkDisk } from '../../src/lab/survivor-disk.ts';
import { sleep } from './fake-vm-pair.ts';
import { type GreyResult, type Illness, isOfArbiter } from './grey-illness.ts';
import { LoopFolder } from './loop-folder.ts';
import { type DiskSickness, SickArbiter, SickDisk, StoppedThread } from './sickness.ts';
import { Client, HOSTS, type Host, type HostStatus, other, TwoHosts } from './two-hosts.ts';

export interface GreyOptions {
  readonly dir: string;
  readonly illness: Illness;
  /** Whose; a has the VM. With an arbiter's: which host dies, while that is sick. */
  readonly sick: Host;
  readonly seed: number;
  /** More lines of [replication]. */
  readonly replication?: readonly string[];
  /** They say unprotected = "hold": nobody serves, before `promote`. */
  readonly holds?: boolean;
}

const LONG_MS = 60_000;
const HOST_MIB = 512;
const ANSWERS_BEFORE = 100;
/** After this many more it serves again. */
const ANSWERS_AFTER = 100;
const SERVES_MS = 15_000;
/** Under unprotected = "hold" nothing is answered for so long. */
const HOLDS_MS = 3000;
const DECIDED_MS = 10_000;
/** Whoever was sick and is well again must not serve beside the other. */
const WELL_MS = 1500;
/** Nothing is served for so long, while the arbiter cannot decide. */
const HELD_MS = 1500;
/** What is under way when a host dies is answered by then. */
const SETTLED_MS = 500;
const nowMs = (): number => performance.timeOrigin + performance.now();

/** @throws Error when it does not come to its end */
export async function playGrey(options: GreyOptions): Promise<GreyResult> {
  const network = makeNetwork();
  const grey = new Grey(options, network);
  try {
    return await grey.play();
  } finally {
    await grey.end();
    network.remove();
  }
}

const isServing = ({ state, outputs_stopped: stopped }: HostStatus): boolean =>
  (state === 'needs-backup' || state === 'protected') && stopped === null;

/** How it went, until all are well again. */
type Fallen = Pick<GreyResult, 'stallMs' | 'held' | 'status' | 'says'>;

class Grey {
  readonly #o: GreyOptions;
  readonly #network: DemoNetwork;
  readonly #disk: SickDisk;
  readonly #hosts: TwoHosts;
  readonly #mounts: string[] = [];
  readonly #arbiter: SickArbiter;
  /** One whose file system can be. */
  #frozen: LoopFolder | null = null;
  #client: Client | null = null;
  #thread: StoppedThread | null = null;

  constructor(options: GreyOptions, network: DemoNetwork) {
    const { dir, sick, illness, replication = [] } = options;
    this.#o = options;
    this.#network = network;
    mkdirSync(dir, { recursive: true });
    this.#disk = new SickDisk(dir, sick);
    // A real disk may be busy with other things.
    for (const name of ['shared', ...HOSTS]) this.#mount(join(dir, name));
    // What is mounted and unmounted there is so for daemons in a namespace of their own, too.
    execFileSync('mount', ['--make-shared', join(dir, 'shared')]);
    if (illness === 'disks frozen') {
      const image = join(dir, 'shared', 'host.ext4');
      this.#frozen = new LoopFolder(join(dir, sick), { image, mib: HOST_MIB });
    }
    this.#arbiter = new SickArbiter(join(dir, 'shared', 'arbiter'));
    this.#hosts = new TwoHosts({
      dir,
      network,
      arbiter: this.#arbiter.path,
      replication,
      hostEnv: { [sick]: this.#disk.env },
    });
  }

  #mount(folder: string): void {
    mkdirSync(folder);
    const options = `size=${HOST_MIB}m,mode=0700`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'understudy-test', folder]);
    this.#mounts.push(folder);
  }

  async play(): Promise<GreyResult> {
    const hosts = this.#hosts;
    const { sick, seed } = this.#o;
    hosts.start('a', 'primary');
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', LONG_MS);
    await hosts.serving('a', LONG_MS);
    const client = new Client(this.#network, seed);
    this.#client = client;
    await this.#answers(client, ANSWERS_BEFORE, LONG_MS);
    await hosts.until('b', 'standby', LONG_MS);
    const now = isOfArbiter(this.#o.illness) ? this.#arbiterSick(client) : this.#hostSick(client);
    const { stallMs, held, status, says } = await now;
    const serves = await this.#serving();
    const result = await client.finish();
    for (const host of serves) await hosts.command(host, { cmd: 'stop', powerdown: true });
    const [one = null] = serves;
    if (one !== null) await hosts.ended(one);
    const image = hosts.image(one ?? other(sick));
    const disk = await checkDisk(image, this.#o.dir, seed, result.acknowledged);
    if (serves.length > 1) throw new Error(`both serve:\n${says}`);
    return { stallMs, serves: one, held, status, says, client: result, disk };
  }

  /** One falls sick, and becomes well again when the other one serves. */
  async #hostSick(client: Client): Promise<Fallen> {
    const hosts = this.#hosts;
    const { sick } = this.#o;
    const pid = (await hosts.status(sick))?.pid;
    if (pid === undefined) throw new Error(`host ${sick} is gone`);
    const fromMs = nowMs();
    await this.#fall(pid);
    const limitMs = this.#o.holds === true ? HOLDS_MS : SERVES_MS;
    const served = await this.#answers(client, client.answered + ANSWERS_AFTER, limitMs).then(
      () => true,
      () => false,
    );
    // It may be found out while all is served.
    await hosts.until(other(sick), 'needs-backup', DECIDED_MS).catch(() => {});
    await sleep(WELL_MS);
    const status = await this.#saysWhy(other(sick));
    const said = await this.#says();
    await this.#heal();
    await sleep(WELL_MS);
    const held = this.#o.holds === true && !served && (await this.#release(client));
    const stallMs = served ? client.stallMs(fromMs) : nowMs() - fromMs;
    return { stallMs, held, status, says: `${said}\n${await this.#says()}` };
  }

  /** The pair goes on; a host dies: nobody goes on, before the arbiter decides again. */
  async #arbiterSick(client: Client): Promise<Fallen> {
    const hosts = this.#hosts;
    const { sick, illness } = this.#o;
    const fromMs = nowMs();
    if (isOfArbiter(illness)) this.#arbiter.fall(illness);
    for (const host of HOSTS) await this.#noticed(host);
    await this.#answers(client, client.answered + ANSWERS_AFTER, SERVES_MS);
    const status = await this.#saysWhy(other(sick));
    const said = await this.#says();
    const before = client.stallMs(fromMs);
    await hosts.crash(sick);
    const settledMs = nowMs() + SETTLED_MS;
    await sleep(SETTLED_MS + HELD_MS);
    const nobody = (await this.#serving()).length === 0;
    const healMs = nowMs();
    await this.#heal();
    await this.#answers(client, client.answered + ANSWERS_AFTER, SERVES_MS);
    const held = nobody && client.wasSilent(settledMs, healMs);
    const stallMs = Math.max(before, client.silentMs(healMs));
    return { stallMs, held, status, says: `${said}\n${await this.#says()}` };
  }

  /** It says that the arbiter cannot decide. */
  async #noticed(host: Host): Promise<void> {
    const endMs = nowMs() + DECIDED_MS;
    while (((await this.#status(host))?.arbiter_problem ?? null) === null) {
      if (nowMs() > endMs) throw new Error(`host ${host} does not see it:\n${await this.#says()}`);
      await sleep(20);
    }
  }

  async #fall(pid: number): Promise<void> {
    const { dir, sick, illness } = this.#o;
    const [what = '', how = ''] = illness.split(' ');
    if (how === 'stopped') {
      const thread = what === 'courier' ? 'courier' : null;
      this.#thread = await StoppedThread.stop(dir, pid, thread);
    } else if (illness === 'disks frozen') {
      this.#frozen?.freeze();
    } else {
      const on = what === 'log' ? this.#hosts.stateRoot(sick) : this.#hosts.image(sick);
      this.#disk.fall(how as DiskSickness, on);
    }
  }

  async #heal(): Promise<void> {
    this.#disk.heal();
    this.#arbiter.heal();
    this.#frozen?.thaw();
    await this.#thread?.goOn();
  }

  async #answers(client: Client, count: number, limitMs: number): Promise<void> {
    const endMs = nowMs() + limitMs;
    while (client.answered < count) {
      if (nowMs() > endMs) {
        throw new Error(`${client.answered} of ${count} answers:\n${await this.#says()}`);
      }
      await sleep(20);
    }
  }

  /** The operator's word. @returns whether outputs were held before */
  async #release(client: Client): Promise<boolean> {
    const well = other(this.#o.sick);
    const status = await this.#status(well);
    const held = status?.outputs_stopped?.includes('unprotected = "hold"') ?? false;
    await this.#hosts.command(well, { cmd: 'promote' });
    await this.#answers(client, client.answered + ANSWERS_AFTER, SERVES_MS);
    return held;
  }

  /** Sides with a live VM whose outputs leave. */
  async #serving(): Promise<Host[]> {
    const all = await Promise.all(
      HOSTS.map(async (host) => ({ host, now: await this.#status(host) })),
    );
    return all.filter(({ now }) => now !== null && isServing(now)).map(({ host }) => host);
  }

  /** Null where it does not answer. */
  #status(host: Host): Promise<HostStatus | null> {
    return Promise.race([this.#hosts.status(host), sleep(1000).then(() => null)]);
  }

  /** What names a cause, in `status`. */
  async #saysWhy(host: Host): Promise<string> {
    const status = await this.#status(host);
    if (status === null) return 'silent';
    const { state, reason, sick, failover, backup_lost, disk_error, arbiter_problem } = status;
    const of = [failover, backup_lost].map((event) => event?.reason ?? null);
    return JSON.stringify({ state, reason, of, sick, disk_error, arbiter_problem });
  }

  async #says(): Promise<string> {
    const lines = HOSTS.map(async (host) => {
      const words = this.#hosts.stderr(host).trim().split('\n').slice(-6).join(' | ');
      return `${host}: ${await this.#saysWhy(host)} ${words}`;
    });
    return (await Promise.all(lines)).join('\n');
  }

  async end(): Promise<void> {
    await this.#heal();
    this.#client?.kill();
    await this.#hosts.destroy();
    for (const host of HOSTS) {
      const log = join(this.#hosts.stateDir(host), 'daemon.log');
      if (existsSync(log)) copyFileSync(log, join(this.#o.dir, `${host}.log`));
    }
    this.#arbiter.remove();
    this.#frozen?.remove();
    for (const folder of this.#mounts) execFileSync('umount', ['-l', folder]);
  }
}
