// SPDX-License-Identifier: Apache-2.0
/**
 * QEMU's COLO: two VMs that run at once, whose answers are compared, with a checkpoint of all
 * state when they differ, and every 20 s: all its numbers are QEMU's own defaults. The QEMU is
 * that of `plain`, configured with COLO, and with one patch that it takes to go on under TCG
 * (bench/peers/).
 */
import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../src/base/errors.ts';
import { type ChildOptions, DemoChild } from '../../src/lab/child.ts';
import { type DemoNetwork, makeNetwork } from '../../src/lab/netns.ts';
import { coloQemu } from '../peer-qemu.ts';
import {
  ADD_REPLICATION,
  DISK,
  EXPORT,
  MIGRATION,
  NBD_SERVER,
  overlays,
  primaryDrives,
  primaryWords,
  qmpSocket,
  type SideFiles,
  secondaryDrives,
  secondaryWords,
} from './colo-pair.ts';
import { Checkpoints, Exit } from './colo-watch.ts';
import { Qmp } from './qmp.ts';
import { NOTHING, type RunningVm, type System, type VmSpec } from './system.ts';
import { unpatchedWords, whyNotBuilt } from './unpatched.ts';
import { collector, running, writeVm } from './vm.ts';

/** What a COLO pair cannot do without: its comparer of packets, and its rewriter. */
const OBJECTS = ['colo-compare', 'filter-rewriter'];

export function colo(binary?: string): System {
  /** Checkpoints by folder of a run. */
  const checkpoints = new Map<string, Checkpoints>();
  return {
    name: 'colo',
    title: 'QEMU COLO',
    baseline: 'plain',
    verified: false,
    replays: null,
    async absent() {
      const missing = await whyNotBuilt('QEMU with COLO', binary === undefined ? coloQemu : null);
      if (missing !== null) return missing;
      const program = binary ?? (await coloQemu());
      const { stdout } = await promisify(execFile)(program, ['-object', 'help']);
      const known = new Set(stdout.split('\n').map((line) => line.trim()));
      const without = OBJECTS.filter((name) => !known.has(name));
      if (without.length === 0) return null;
      return (
        `this build of QEMU has no ${without.join(' and no ')} ` +
        '(`-object help`; it takes --enable-colo-proxy and --enable-replication)'
      );
    },
    async start(dir, spec) {
      const counted = new Checkpoints();
      checkpoints.set(dir, counted);
      return startPair(dir, spec, { binary: binary ?? (await coloQemu()), counted });
    },
    harvest: async (dir) => ({ ...NOTHING, facts: checkpoints.get(dir)?.facts() ?? {} }),
  };
}

interface PairOptions {
  readonly binary: string;
  readonly counted: Checkpoints;
}

interface Side extends SideFiles {
  readonly toml: string;
  readonly tap: string;
}

async function startPair(dir: string, spec: VmSpec, options: PairOptions): Promise<RunningVm> {
  const { binary, counted } = options;
  const network = makeNetwork();
  const children: DemoChild[] = [];
  const launch = async (
    side: Side,
    [drives, extra]: readonly [readonly string[], readonly string[]],
    told: Pick<ChildOptions, 'onStdout' | 'onStderr'> = {},
  ): Promise<DemoChild> => {
    const adapt = (args: readonly string[]): string[] => withDrives(args, drives);
    const words = await unpatchedWords(side.toml, side.tap, { binary, icount: null, adapt, extra });
    const child = new DemoChild(network.prefix, { words, ...told });
    children.push(child);
    return child;
  };
  try {
    const [leader, follower] = [
      await sideOf(dir, spec, network, 'primary'),
      await sideOf(dir, spec, network, 'backup'),
    ];
    const console = collector();
    const primary = await launch(leader, [primaryDrives(leader), primaryWords(leader)], {
      onStdout: console.onStdout,
      onStderr: counted.onLine,
    });
    const vm = running({ network, children: [primary], read: console.read });
    const exit = new Exit();
    const leading = await Qmp.connect(qmpSocket(leader), () => primary.end !== null, exit.onEvent);
    for (const path of Object.values(overlays(follower))) {
      await makeOverlay(leading, path, statSync(follower.image).size);
    }
    const secondary = await launch(follower, [secondaryDrives(follower), secondaryWords(follower)]);
    const following = await Qmp.connect(qmpSocket(follower), () => secondary.end !== null);
    await protect(leading, following);
    const ended = Promise.race([vm.ended, exit.early]);
    ended.catch(() => {}); // who waits for it is told
    return {
      ...vm,
      ended,
      pids: () => children.map(({ pid }) => pid),
      async close() {
        secondary.kill();
        await secondary.ended;
        await vm.close();
      },
    };
  } catch (error) {
    for (const child of children) child.kill();
    await Promise.all(children.map(({ ended }) => ended));
    network.remove();
    const said = children.map(({ lastWords }) => lastWords).filter((words) => words !== '');
    throw new Error([messageOf(error), ...said].join('; '), { cause: error });
  }
}

async function sideOf(
  dir: string,
  spec: VmSpec,
  network: DemoNetwork,
  side: 'primary' | 'backup',
): Promise<Side> {
  const own = join(dir, side);
  const toml = await writeVm(spec, { dir: own, network, side });
  return { dir: own, image: join(own, 'disk.raw'), toml, tap: network.tap[side] };
}

/** The guest's disk is on these. */
function withDrives(args: readonly string[], drives: readonly string[]): string[] {
  const at = args.findIndex((word) => word.startsWith(`if=none,id=${DISK},`));
  if (at < 1) throw new Error(`the VM has no ${DISK}`);
  return [...args.slice(0, at - 1), ...drives, ...args.slice(at + 1)];
}

/** An empty qcow2 image, by a QEMU that does not use it: there may be no qemu-img. */
async function makeOverlay(qmp: Qmp, filename: string, size: number): Promise<void> {
  const create = async (options: Readonly<Record<string, unknown>>): Promise<void> => {
    const concluded = qmp.next(
      ({ event, data }) => event === 'JOB_STATUS_CHANGE' && data?.status === 'concluded',
    );
    await qmp.execute('blockdev-create', { 'job-id': 'create', options });
    await concluded;
    const [job] = (await qmp.execute('query-jobs')) as [{ readonly error?: string }];
    if (job.error !== undefined) throw new Error(`${filename}: ${job.error}`);
    await qmp.execute('job-dismiss', { id: 'create' });
  };
  const node = { driver: 'file', 'node-name': 'created', filename };
  await create({ driver: 'file', filename, size: 0 });
  await qmp.execute('blockdev-add', node);
  await create({ driver: 'qcow2', file: 'created', size });
  await qmp.execute('blockdev-del', { 'node-name': 'created' });
}

/** docs/COLO-FT.txt, steps 3 and 4. Resolves when both guests run. */
async function protect(primary: Qmp, secondary: Qmp): Promise<void> {
  const capabilities = [{ capability: 'x-colo', state: true }];
  await secondary.execute('migrate-set-capabilities', { capabilities });
  await secondary.execute('nbd-server-start', { addr: NBD_SERVER });
  const parent = { type: 'nbd', id: EXPORT, name: EXPORT, 'node-name': EXPORT, writable: true };
  await secondary.execute('block-export-add', parent);
  await primary.executeHuman(ADD_REPLICATION);
  await primary.execute('x-blockdev-change', { parent: DISK, node: 'replication0' });
  const told = [...capabilities, { capability: 'events', state: true }];
  await primary.execute('migrate-set-capabilities', { capabilities: told });
  const begun = primary.next(
    ({ event, data }) => event === 'MIGRATION' && /^(colo|failed)$/.test(String(data?.status)),
  );
  await primary.execute('migrate', { uri: MIGRATION });
  if ((await begun).data?.status === 'colo') return;
  const { 'error-desc': why } = (await primary.execute('query-migrate')) as Migration;
  throw new Error(`COLO did not begin: ${why}`);
}

interface Migration {
  readonly 'error-desc'?: string;
}
