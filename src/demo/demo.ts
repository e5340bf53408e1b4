// SPDX-License-Identifier: Apache-2.0
/**
 * The demo: a protected VM, a client with one TCP connection, a fault, and the
 * client that goes on. Whatever happens, nothing of it stays: processes, network,
 * work folder.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { colourStderr } from '../base/colour.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { formatCount, formatDuration } from '../base/format.ts';
import { followerOf, type ProtocolName } from '../epochs/registry.ts';
import type { ClientResult } from '../lab/client-events.ts';
import { randomFrom } from '../lab/frames.ts';
import { Load } from '../lab/load.ts';
import { type DemoNetwork, makeNetwork } from '../lab/netns.ts';
import { readyNetwork } from '../lab/ready-network.ts';
import { checkDisk, type DiskVerdict } from '../lab/survivor-disk.ts';
import type { AccelName } from '../vm/accel/registry.ts';
import {
  type Aftermath,
  awaitSurvivor,
  type Fault,
  faultKind,
  type Heard,
  now,
  strike,
} from './fault.ts';
import { DemoPair, type PairOptions, parseRemark, type Side } from './pair.ts';
import { conclude, type DemoResult } from './summary.ts';

export interface DemoOptions extends Pick<PairOptions, 'guest' | 'arbiter' | 'env' | 'vcpus'> {
  readonly fault: Fault;
  readonly protocol: ProtocolName;
  /** How the VM is executed, on how many vCPUs; default: VM.toml's. */
  readonly accel?: AccelName;
  readonly vcpus?: number;
  /** Chooses the payloads, and the moment of the fault. */
  readonly seed: number;
  /** Load before the fault; up to a second of chance is added. */
  readonly secondsBefore: number;
  /** The exact moment, ms after the client connected, in place of that. */
  readonly faultAfterMs: number | null;
  readonly secondsAfter: number;
  readonly ratePerS: number;
  readonly window: number;
  /** Keeps the work folder, there. */
  readonly keep: string | null;
  /** One line for people. */
  readonly say: (text: string) => void;
}

const POWERDOWN_TIMEOUT_MS = 20_000;
const LOSER_TIMEOUT_MS = 5000;
/** In the work folder. */
const MADE = ['primary', 'backup', 'arbiter', 'keys', 'state', 'requests.log'];

/** What was made so far, to be undone in any case. */
interface Stage {
  network: DemoNetwork | null;
  pair: DemoPair | null;
  load: Load | null;
}

/**
 * Runs it once.
 * @param interrupted ends the demo early; clean-up included
 * @throws UnderstudyError when it could not be played to its end
 */
export async function runDemo(options: DemoOptions, interrupted: AbortSignal): Promise<DemoResult> {
  if (!isRoot() && options.fault === 'link') {
    throw new UnderstudyError(
      'host-unsupported',
      'the demo cuts the link in a network of its own, which needs root: run it again as root',
    );
  }
  // e2fsck and ip are there, and a plain user's PATH may not name it.
  process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
  const dir = workDir(options.keep);
  const stage: Stage = { network: null, pair: null, load: null };
  const stopped = new Promise<never>((_resolve, reject) => {
    const stop = (): void => reject(new UnderstudyError('interrupted', 'the demo was interrupted'));
    if (interrupted.aborted) stop();
    interrupted.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([play(options, dir, stage, interrupted), stopped]);
  } finally {
    stage.load?.kill();
    await stage.pair?.destroy();
    stage.network?.remove();
    if (options.keep === null) rmSync(dir, { recursive: true, force: true });
  }
}

const isRoot = (): boolean => process.getuid?.() === 0;

function workDir(keep: string | null): string {
  if (keep === null) return mkdtempSync(join(tmpdir(), 'understudy-demo-'));
  const dir = resolve(keep);
  try {
    mkdirSync(dir, { recursive: true });
    // What an earlier demo kept there is not to be taken for this one's.
    for (const name of MADE) rmSync(join(dir, name), { recursive: true, force: true });
    return dir;
  } catch (cause) {
    const why = messageOf(cause);
    throw new UnderstudyError('file-io', `cannot use the folder ${dir}: ${why}`, { cause });
  }
}

/** What each act of the demo is given. */
interface Scene {
  readonly options: DemoOptions;
  readonly dir: string;
  readonly stage: Stage;
  readonly say: (text: string) => void;
  /** Rejects when interrupted: nothing goes on after the clean-up. */
  readonly pause: (ms: number) => Promise<void>;
}

async function play(
  options: DemoOptions,
  dir: string,
  stage: Stage,
  interrupted: AbortSignal,
): Promise<DemoResult> {
  const startedMs = now();
  const scene: Scene = {
    options,
    dir,
    stage,
    say: (text) => {
      const seconds = ((now() - startedMs) / 1000).toFixed(3).padStart(7);
      if (!interrupted.aborted) options.say(`${colourStderr.dim(`${seconds} s`)}  ${text}`);
    },
    pause: (ms) => sleep(Math.max(0, ms), undefined, { signal: interrupted }),
  };
  const heard: Heard[] = [];
  const { fault, seed, protocol } = options;

  // Who takes over from an image has no log that tells it what the primary had.
  const toBoth = followerOf(protocol) === 'replaying';
  const network = isRoot() ? makeNetwork({ toBoth }) : await readyNetwork();
  stage.network = network;
  const where = network.prefix.length > 0 ? 'namespace' : 'made beforehand:';
  scene.say(`network: one switch, a tap for each host, a client (${where} ${network.name})`);
  const { pair, logBytes } = await protect(scene, network, heard);
  const { load, ...before } = await loadUntilFault(scene, network, pair, logBytes);
  const faultAtMs = strike(fault, pair, network);
  scene.say(colourStderr.red.bold(faultKind(fault).text));
  interrupted.throwIfAborted();
  const aftermath = await awaitSurvivor(fault, faultAtMs, pair, heard);
  const client = await goOn(scene, pair, load, aftermath);
  const verdict = await judge(scene, pair, aftermath.survivor, client);
  const told = { fault, seed, protocol, ...before, ...verdict };
  return conclude({ ...told, aftermath, client, gaps: load.gaps });
}

/** Two hosts, until the backup protects the VM. */
async function protect({ options, dir, stage, say }: Scene, network: DemoNetwork, heard: Heard[]) {
  const pair = await DemoPair.start({
    ...options,
    network,
    dir,
    onLine: (side, line) => listen(side, line, heard, say),
  });
  stage.pair = pair;
  say('two hosts: a primary and a backup, each with its own QEMU and disk; Linux boots');
  await pair.ready();
  const [primary, backup] = [await pair.status('primary'), await pair.status('backup')];
  say(
    `${colourStderr.green('protected')}: primary ${primary?.pid} (QEMU ${primary?.qemu_pid}), ` +
      `backup ${backup?.pid} (QEMU ${backup?.qemu_pid})`,
  );
  return { pair, logBytes: primary?.log_bytes_total ?? 0 };
}

/**
 * A client at work, until the moment of the fault; and what was measured before it.
 * @param logBytes of the primary's log when the load began
 */
async function loadUntilFault(
  { options, stage, say, pause }: Scene,
  network: DemoNetwork,
  pair: DemoPair,
  logBytes: number,
) {
  const load = await Load.start({
    ...options,
    network,
    onEvent: (event) => {
      if (event.event === 'connected') say(`client ${event.local}: one connection, never another`);
      if (event.event === 'broken') say(colourStderr.red(`client: broken: ${event.reason}`));
    },
  });
  stage.load = load;
  const loadedAtMs = now();
  const faultAfterMs =
    options.faultAfterMs ?? Math.round(1000 * (options.secondsBefore + randomFrom(options.seed)()));
  // A look at the log's rate shortly before, so that the fault itself is on time.
  await pause(faultAfterMs - 100);
  const last = await pair.status('primary');
  const logBytesPerS =
    (1000 * ((last?.log_bytes_total ?? logBytes) - logBytes)) / (now() - loadedAtMs);
  await pair.status('backup');
  const lagMs = last?.lag_ms ?? null;
  say(
    `client: ${formatCount(load.counts.answered)} requests stored and answered so far` +
      (lagMs === null ? '' : `; the backup is ${formatDuration(lagMs)} behind`),
  );
  await pause(loadedAtMs + faultAfterMs - now());
  const cuts = { cuts: last?.cuts ?? null, cut_pause_ms: last?.cut_pause_ms ?? null };
  return { load, faultAfterMs, logBytesPerS, lagMs, cuts };
}

/** The client goes on with the survivor, if there is one, until it is told to finish. */
async function goOn(
  { options, say, pause }: Scene,
  pair: DemoPair,
  load: Load,
  { survivor, goliveMs }: Aftermath,
): Promise<ClientResult> {
  if (survivor === null) say(colourStderr.red('no side goes on'));
  else say(survivorText(survivor, goliveMs));
  await pause(500 * options.secondsAfter);
  faultKind(options.fault).undo?.(pair);
  await pause(500 * options.secondsAfter);
  const client = await load.finish();
  say(`client: ${formatCount(client.answered)} answered, ${client.unanswered} not`);
  return client;
}

/** One side alone went on, and its disk has what the client was told. */
async function judge(
  { options, dir, say }: Scene,
  pair: DemoPair,
  survivor: Side | null,
  { acknowledged }: ClientResult,
): Promise<{ disk: DiskVerdict | null; problems: string[] }> {
  if (survivor === null) return { disk: null, problems: [] };
  const problems = await judgeLoser(pair, survivor);
  say("the survivor's power button");
  if (!(await pair.powerDown(survivor, POWERDOWN_TIMEOUT_MS))) {
    return { disk: null, problems: [...problems, 'the survivor did not power off'] };
  }
  const disk = await checkDisk(pair.diskOf(survivor), dir, options.seed, acknowledged);
  say(`the survivor's disk: ${disk.problem || `${formatCount(disk.stored)} requests on it`}`);
  return { disk, problems };
}

function survivorText(side: Side, goliveMs: number | null): string {
  const took = goliveMs === null ? '' : ` after ${formatDuration(goliveMs)}`;
  const what = side === 'backup' ? 'the backup is live' : 'the primary goes on alone';
  return colourStderr.green(`${what}${took}, unprotected`);
}

/** Exactly one side may go on: the other must have ended, or end by itself. */
async function judgeLoser(pair: DemoPair, survivor: Side): Promise<string[]> {
  const loser = survivor === 'primary' ? 'backup' : 'primary';
  if (await pair.endOf(loser, LOSER_TIMEOUT_MS)) return [];
  const status = await pair.status(loser);
  return [`the ${loser} did not stop: it is ${status?.state ?? 'silent'} (${status?.reason})`];
}

const TOLD = new Set(['primary-lost', 'backup-lost', 'needs-backup', 'standby', 'protected']);

function listen(side: Side, line: string, heard: Heard[], say: (text: string) => void): void {
  const remark = parseRemark(line);
  if (remark !== null) heard.push({ atMs: now(), side, event: remark.event });
  if (remark === null || TOLD.has(remark.event)) {
    const text = remark === null ? line : `${remark.event} ${colourStderr.dim(remark.rest)}`;
    say(`${side === 'primary' ? colourStderr.cyan(side) : colourStderr.magenta(side)} ${text}`);
  }
}
