// SPDX-License-Identifier: Apache-2.0
/**
 * Ours, protected: two daemons on this host, each with its own QEMU and disk, and the
 * replication link on the loopback device of their network namespace.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../../src/daemon/client.ts';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import { PROTOCOL_NAMES, protocolByName } from '../../src/epochs/registry.ts';
import { Authority, tlsLines } from '../../src/keys/authority.ts';
import { DemoChild } from '../../src/lab/child.ts';
import { type DemoNetwork, makeNetwork } from '../../src/lab/netns.ts';
import { loadConfig, type VmConfig } from '../../src/vm/config.ts';
import { KNOWN_KEYS } from '../../src/vm/config-schema.ts';
import { withState } from '../run/state-env.ts';
import { verifyImage } from './image-verify.ts';
import { loopbackBytes, shapeLoopback } from './link.ts';
import {
  keepPowerOn,
  type PowerOn,
  readPowerOn,
  sidesHaveEqualDisks,
  verifyLog,
} from './pair-verify.ts';
import type { RunningVm, System, VmSpec } from './system.ts';
import { readOr, running, understudy, VM_NAME, writeVm } from './vm.ts';

const SIDES = ['primary', 'backup'] as const;
const STATUS_TIMEOUT_MS = 2000;
/** Nothing of a run's log may be gone before it was replayed. */
const LOG_MIB_MAX = 65_536;
/** A host that is busy for a moment is no lost backup: that would be no measurement at all. */
const HEARTBEAT_MISSED = 50;
const POWER_ON_POLL_MS = 20;

const MEASURED = [`log_mib_max = ${LOG_MIB_MAX}`, `heartbeat_missed = ${HEARTBEAT_MISSED}`];

export interface PairOptions {
  readonly protocol: string;
  /** Name of the system; default: the protocol's. */
  readonly name?: string;
  readonly title?: string;
  /** Further keys of [replication], such as an epoch's length. */
  readonly replication?: Readonly<Record<string, string | number>>;
  /** Bandwidth of the link between the two from the beginning, Mbit/s; default: as fast as this host. */
  readonly link?: number;
  /** The link is sealed; default: plaintext. */
  readonly tls?: true;
  /** It is not verified afterwards, and its log goes as it does in use. */
  readonly unverified?: true;
  readonly variantOf?: string;
  readonly only?: System['only'];
}

export function pair(options: PairOptions): System {
  const { protocol, name = protocol, variantOf, only } = options;
  /** By folder, of runs whose log is to be replayed: what the primary's QEMU said of itself. */
  const powerOns = new Map<string, Promise<PowerOn | null>>();
  const notYet = notYetOf(options);
  return {
    name,
    title: options.title ?? `ours, ${name}`,
    baseline: 'plain',
    verified: true,
    replays: null,
    ...(variantOf === undefined ? {} : { variantOf }),
    ...(only === undefined ? {} : { only }),
    ...(notYet === null ? {} : { notYet }),
    absent: async () => null,
    async start(dir, spec) {
      const network = makeNetwork();
      try {
        const { vm, isReplayed } = await startIn(network, dir, spec, options);
        if (isReplayed) {
          const status = async () => (await vm.status?.('primary')) ?? null;
          powerOns.set(dir, awaitPowerOn(vm, status));
        }
        return vm;
      } catch (error) {
        network.remove();
        throw error;
      }
    },
    async harvest(dir) {
      const disks = await sidesHaveEqualDisks(dir);
      const powerOn = powerOns.get(dir);
      if (powerOn !== undefined) return verifyLog(dir, await powerOn, disks);
      return verifyImage(join(dir, 'state', `${VM_NAME}-backup`, 'log'), disks);
    },
  };
}

/** @returns whether its log is to be replayed, beside the VM */
async function startIn(
  network: DemoNetwork,
  dir: string,
  spec: VmSpec,
  { protocol, replication = {}, link, tls, unverified }: PairOptions,
): Promise<{ vm: RunningVm; isReplayed: boolean }> {
  if (link !== undefined) shapeLoopback(network, link);
  const state = join(dir, 'state');
  mkdirSync(join(dir, 'arbiter'), { recursive: true });
  const lines = [
    `primary = "${network.replication}"`,
    `arbiter = ${JSON.stringify(`dir:${join(dir, 'arbiter')}`)}`,
    `protocol = "${protocol}"`,
    ...(unverified === true ? [] : MEASURED),
    ...Object.entries(replication).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
  ];
  const authority = tls === true ? Authority.init(join(dir, 'keys')) : null;
  const files = new Map<string, string>();
  for (const side of SIDES) {
    const keys = authority === null ? [] : tlsLines(authority.issue(VM_NAME, side));
    const at = { dir: join(dir, side), network, side, replication: [...lines, ...keys] };
    files.set(side, await writeVm(spec, at));
  }
  const config = loadConfig(files.get('primary') ?? '');
  const isReplayed = unverified !== true && backupExecutes(config);
  if (isReplayed) await keepPowerOn(dir, config);
  const children = SIDES.map(
    (side) =>
      new DemoChild(network.prefix, {
        words: understudy(side, files.get(side) ?? ''),
        env: { UNDERSTUDY_STATE_DIR: state, NO_COLOR: '1' },
      }),
  );
  const read = (): string => readOr(join(state, `${VM_NAME}-primary`, 'console.log'));
  const vm = running({ network, children, read });
  const pair: RunningVm = {
    ...vm,
    status: (role) => statusIn(state, role),
    linkBytes: () => loopbackBytes(vm.pids()[0]),
  };
  return { vm: pair, isReplayed };
}

/** Null: this version has it. */
function notYetOf({ protocol, replication = {} }: PairOptions): string | null {
  const isKnown = (names: readonly string[] | undefined, name: string): boolean =>
    names?.includes(name) ?? false;
  if (!isKnown(PROTOCOL_NAMES, protocol)) {
    return `not yet: this version has no protocol "${protocol}"`;
  }
  const missing = Object.entries(replication).find(
    ([key]) => !isKnown(KNOWN_KEYS.replication, key),
  );
  if (missing === undefined) return null;
  const [key, value] = missing;
  return `not yet: this version has no ${key} = ${JSON.stringify(value)} in [replication]`;
}

/** Else its log has outputs only, and cannot be replayed. */
function backupExecutes({ replication }: VmConfig): boolean {
  if (replication === null) return false;
  return protocolByName(replication.protocol, replication).follower === 'replaying';
}

/** Null: it ended before it was seen. */
async function awaitPowerOn(
  vm: RunningVm,
  status: () => Promise<DaemonStatus | null>,
): Promise<PowerOn | null> {
  let over = false;
  const end = (): void => {
    over = true;
  };
  vm.ended.then(end, end);
  while (!over) {
    const said = await status();
    const powerOn = said === null ? null : await readPowerOn(said).catch(() => null);
    if (powerOn !== null) return powerOn;
    await sleep(POWER_ON_POLL_MS);
  }
  return null;
}

/** @param state where that pair's daemons have their folders */
async function statusIn(state: string, role: (typeof SIDES)[number]): Promise<DaemonStatus | null> {
  try {
    const asked = withState(state, () =>
      ask({ name: VM_NAME, role }, { cmd: 'status' }, STATUS_TIMEOUT_MS),
    );
    return (await asked).status as DaemonStatus;
  } catch {
    return null;
  }
}
