// SPDX-License-Identifier: Apache-2.0
/**
 * What a daemon stands on before its VM runs: everything is checked, the state folder, the
 * disks and the daemon's log are taken, and freed again at the end.
 */
import { hostname } from 'node:os';
import { basename } from 'node:path';
import type { Arbiter, Claimant } from '../arbiter/arbiter.ts';
import { openArbiter } from '../arbiter/registry.ts';
import { EXIT, messageOf, UnderstudyError } from '../base/errors.ts';
import { createLogger, type Logger } from '../base/logger.ts';
import { testHookNumber, testHooksSet } from '../base/test-hooks.ts';
import { version } from '../base/version.ts';
import type { Protocol } from '../epochs/protocol.ts';
import { protocolByName, QUORUM } from '../epochs/registry.ts';
import type { Report } from '../replica/ports.ts';
import { historyNumbers } from '../retain/history-numbers.ts';
import { LogRetention } from '../retain/log-trim.ts';
import { checkpointRefusal } from '../vm/checkpointing.ts';
import { configHash, hasGuardPort, type ReplicationConfig, type VmConfig } from '../vm/config.ts';
import { checkArbiterFiles } from '../vm/config-arbiter.ts';
import { claimDisks, type DiskLocks, hashDisks } from '../vm/disk.ts';
import { settleDisks } from '../vm/disk-journal.ts';
import { hashFirmware } from '../vm/firmware.ts';
import { readGeneration } from '../vm/generation.ts';
import { checkLinkTrust } from '../vm/link-trust.ts';
import { findQemu, type QemuBinary } from '../vm/qemu-binary.ts';
import { checkTaps } from '../vm/tap.ts';
import type { VmFacts } from '../wire/hello.ts';
import { Trust } from '../wire/trust.ts';
import { ConsoleSink } from './console-sink.ts';
import { ImageGeneration } from './generation.ts';
import { Helpers } from './helpers.ts';
import { History } from './history.ts';
import type { SignalSource } from './signal-source.ts';
import { type DaemonRole, type StateDir, takeStateDir } from './state-dir.ts';

export interface DaemonOptions {
  readonly config: VmConfig;
  /** One line for people. */
  readonly say: (text: string) => void;
  readonly showConsole: boolean;
  /** A primary takes its images, newest or not. */
  readonly acceptsOlder?: boolean;
}

/** Everything checked and taken; the VM does not run yet. */
export interface Ground {
  readonly role: DaemonRole;
  readonly config: VmConfig;
  readonly replication: ReplicationConfig;
  readonly qemu: QemuBinary;
  readonly facts: VmFacts;
  readonly claimant: Claimant;
  readonly arbiter: Arbiter;
  readonly generation: ImageGeneration;
  /** Whom it lets in; null: the link is plaintext. */
  readonly trust: Trust | null;
  readonly stateDir: StateDir;
  readonly console: ConsoleSink;
  readonly retention: LogRetention;
  /** Null: off. */
  readonly history: History | null;
  readonly logger: Logger;
  readonly report: Report;
  readonly startedAt: string;
  /** Frees everything again. Idempotent. */
  release(): void;
}

/**
 * Checks and takes what a daemon needs. A signal meanwhile ends the process.
 * @throws UnderstudyError for whatever is not as it must be; nothing is kept then
 */
export async function prepare(
  role: DaemonRole,
  options: DaemonOptions,
  signals: SignalSource,
): Promise<Ground> {
  const { config } = options;
  const replication = replicationOf(role, config);
  const stateDir = takeStateDir(config.name, role);
  const undo: (() => void)[] = [() => stateDir.release()];
  const release = (): void => {
    for (const step of undo.splice(0).reverse()) step();
  };
  signals.listen((count) => {
    if (count === 0) return;
    release();
    process.exit(EXIT.failure);
  });
  try {
    const taken = await take(role, options, { replication, stateDir, undo });
    const { name } = config;
    const who = { role, name, host: hostname(), pid: process.pid };
    const claimant = { ...who, instance: crypto.randomUUID() };
    const { report, helpers } = taken;
    const arbiter = helpers.guard(openArbiter(replication.arbiter, replication.arbiterAccess));
    const images = config.disks.map(({ image }) => image);
    const { acceptsOlder = false } = options;
    return {
      ...taken,
      role,
      config,
      replication,
      claimant,
      arbiter,
      generation: new ImageGeneration({ arbiter, claimant, images, report, acceptsOlder }),
      stateDir,
      startedAt: new Date().toISOString(),
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** @throws UnderstudyError config-value, not-exact for a VM that cannot be protected */
function replicationOf(role: DaemonRole, config: VmConfig): ReplicationConfig {
  const { replication } = config;
  if (replication === null) {
    throw new UnderstudyError(
      'config-value',
      `${config.file}: a ${role} needs a [replication] table with at least ` +
        (role === 'replica'
          ? 'protocol = "quorum" and replicas = ["HOST:PORT", …]'
          : 'primary = "HOST:PORT" and arbiter = "dir:PATH"'),
    );
  }
  if ((role === 'replica') !== (replication.protocol === QUORUM)) {
    throw new UnderstudyError(
      'config-value',
      `${config.file}: with protocol = "${replication.protocol}" there is no ${role}: start ` +
        (role === 'replica'
          ? '`understudy primary` and `understudy backup`'
          : '`understudy replica` on each of replication.replicas'),
    );
  }
  const slirp = config.nics.findIndex((nic) => nic.backend.kind === 'user');
  if (slirp >= 0) {
    throw new UnderstudyError(
      'config-value',
      `${config.file}: nic ${slirp} has user = true, whose connections die with their process: ` +
        'a protected VM needs tap = "NAME"',
    );
  }
  const { primary, backup } = replication;
  const addresses =
    role === 'replica'
      ? Object.fromEntries(
          replication.replicas.map((one, i) => [`replication.replicas[${i}]`, one]),
        )
      : { 'replication.primary': primary, 'replication.backup': backup };
  checkLinkTrust(replication.link, addresses, config.file);
  checkArbiterFiles(replication.arbiterAccess);
  const lost = checkpointRefusal(config);
  if (lost !== null && protocolByName(replication.protocol, replication).cut !== null) {
    throw new UnderstudyError(
      'not-exact',
      `${config.file}: not with protocol = "${replication.protocol}", whose backup goes on from ` +
        `saved state. ${lost}; take virtio devices, or another protocol`,
    );
  }
  return replication;
}

interface Taking {
  readonly replication: ReplicationConfig;
  readonly stateDir: StateDir;
  /** Added to: how to free what is taken. */
  readonly undo: (() => void)[];
}

async function take(
  role: DaemonRole,
  { config, say, showConsole }: DaemonOptions,
  { replication, stateDir, undo }: Taking,
) {
  const logger = createLogger({ name: role, file: stateDir.daemonLog });
  const locks: DiskLocks = claimDisks(config, role === 'backup' ? 'allowed' : 'refused');
  undo.push(() => locks.release());
  settleDisks(
    config,
    (event, text) => {
      logger.info({ event, reason: text });
      say(`${event}: ${text}`);
    },
    role === 'backup' ? 'joins' : 'refuses',
  );
  for (const warning of [...checkTaps(config), ...hookWarnings()]) {
    logger.warn(warning);
    say(`warning: ${warning}`);
  }
  const qemu = await findQemu();
  const console = new ConsoleSink(stateDir.console);
  undo.push(() => void console.close());
  const retention = new LogRetention(replication.logMibMax * 2 ** 20, (error) => {
    say(`warning: old segments of the log stay on disk: ${messageOf(error)}`);
  });
  undo.push(() => retention.close());
  const facts = await factsOf(config, replication, qemu);
  const report: Report = (event, details = {}) => {
    logger.info({ event, ...plain(details) });
    if (event === 'needs-backup') helpers.wentOn();
    const { reason } = details;
    say(`${event}${reason === undefined ? '' : `: ${String(reason)}`}`);
  };
  const trust = trustOf(role, config, { replication, report });
  const { fenceCommand, onFailover, helperTimeoutS: timeoutS } = replication;
  const helpers = new Helpers({ fenceCommand, onFailover, timeoutS, report });
  const history = historyOf(config, replication, { qemu, facts, report, stateDir });
  undo.push(() => history?.close());
  if (showConsole) console.listen((bytes) => process.stdout.write(bytes));
  return { logger, qemu, console, retention, facts, report, helpers, history, trust };
}

/** Who can set them can do all that the daemon can: what is honoured is to be seen. */
function hookWarnings(): string[] {
  return testHooksSet().map((name) => `${name} is set in the environment: it is for tests`);
}

/** A backup can be either side: it becomes the one at whose address it listens. */
function trustOf(
  role: DaemonRole,
  config: VmConfig,
  { replication, report }: { replication: ReplicationConfig; report: Report },
): Trust | null {
  const files = replication.link.tls;
  if (files === null) return null;
  return new Trust({
    files,
    vm: config.name,
    side: role === 'backup' ? null : role,
    onError: (reason) => report('keys-unusable', { reason }),
  });
}

function historyOf(
  config: VmConfig,
  { historyMs, logMibMax }: ReplicationConfig,
  ground: Pick<Ground, 'qemu' | 'facts' | 'report' | 'stateDir'>,
): History | null {
  if (historyMs === 0) return null;
  const refusal = checkpointRefusal(config);
  if (refusal !== null) {
    throw new UnderstudyError(
      'not-exact',
      `${config.file}: replication.history needs checkpoints, and there are none with this VM. ` +
        `${refusal}; take virtio devices, or history = "off"`,
    );
  }
  const everyMs = testHookNumber('UNDERSTUDY_HISTORY_EVERY_MS') ?? undefined;
  return new History({
    stateDir: ground.stateDir.path,
    spanMs: historyMs,
    bytesMax: logMibMax * 2 ** 20,
    numbers: historyNumbers(historyMs, everyMs),
    config,
    configHash: ground.facts.configHash,
    qemu: ground.qemu,
    report: ground.report,
  });
}

async function factsOf(
  config: VmConfig,
  replication: ReplicationConfig,
  qemu: QemuBinary,
): Promise<VmFacts> {
  return {
    name: config.name,
    qemuBuildId: qemu.buildId,
    firmware: hashFirmware(qemu.firmwareDir),
    configHash: await configHash(config),
    disks: await diskFacts(config),
    marks: markFacts(config),
    arbiter: replication.arbiter ?? '',
    durability: replication.durability,
    protocol: replication.protocol,
    epochs: epochWords(protocolByName(replication.protocol, replication)),
    guardPort: hasGuardPort(config),
    host: hostname(),
    agentVersion: version(),
  };
}

function epochWords({ cut }: Protocol): string {
  if (cut === null) return 'never';
  const { everyMs, stretch, outputWaitUs, pagesMax, events, disk } = cut;
  const to = stretch === null ? '' : ` to ${stretch.everyMsMax}`;
  const pages = pagesMax === 0 ? '' : `, or ${pagesMax} pages`;
  const others = events.filter((event) => event !== 'PAGES');
  const after = others.length === 0 ? '' : `, or after ${others.join(', ')}`;
  const packet = `${outputWaitUs} us after a packet`;
  return `every ${everyMs}${to} ms, or ${packet}${pages}${after}; disk = "${disk}"`;
}

async function diskFacts(config: VmConfig): Promise<VmFacts['disks']> {
  const hashes = await hashDisks(config.disks.map((disk) => disk.image));
  return hashes.map(({ hash, bytes }, index) => ({
    name: basename(config.disks[index]?.image ?? ''),
    bytes: BigInt(bytes),
    xxh64: BigInt(`0x${hash}`),
  }));
}

function markFacts(config: VmConfig): VmFacts['marks'] {
  return config.disks.map(({ image }) => {
    try {
      return readGeneration(image);
    } catch {
      return null; // a power-on of it is refused, and says why
    }
  });
}

/** pino writes no bigint. */
function plain(details: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(details).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? value.toString() : value,
    ]),
  );
}

/** The disks as they are now: a join that ended early has changed them. */
export async function currentFacts(ground: Ground): Promise<VmFacts> {
  const { config } = ground;
  return { ...ground.facts, disks: await diskFacts(config), marks: markFacts(config) };
}
