// SPDX-License-Identifier: Apache-2.0
/**
 * What two daemons must agree on before one may replay the other's VM.
 *
 * Every disagreement is refused by name, with both values: a pair that differs
 * in any of these would diverge later, at the worst moment.
 */
import { describeMark, type ImageMark, newerOf } from '../arbiter/newest.ts';
import { hex64 } from '../base/format.ts';
import { LOG_VERSION } from '../log/batch.ts';
import { type FirmwareHashes, firmwareDifference, firmwareHash } from '../vm/firmware.ts';
import type { DiskFacts, Hello, Refuse, Settings, Welcome } from './messages.ts';
import { PROTOCOL, WIRE_VERSION } from './messages.ts';

/** One side's facts about itself and the VM it is to run. */
export interface VmFacts {
  readonly name: string;
  readonly qemuBuildId: string;
  /** sha256 by name. */
  readonly firmware: FirmwareHashes;
  readonly configHash: string;
  readonly disks: readonly DiskFacts[];
  /** What is beside their images; null: nothing. */
  readonly marks: readonly (ImageMark | null)[];
  /** VM.toml's arbiter, '' = none. */
  readonly arbiter: string;
  readonly durability: 'memory' | 'disk';
  /** VM.toml's replication.protocol. */
  readonly protocol: string;
  /** When it ends an epoch, in words; 'never' of one that ships the log alone. */
  readonly epochs: string;
  /** Whether the machine has a port for a guard in the guest; default: no. */
  readonly guardPort?: boolean;
  readonly host: string;
  readonly agentVersion: string;
}

/** The hello of a backup that holds no state of any VM yet. */
export function helloOf(facts: VmFacts): Hello {
  return {
    protocol: PROTOCOL,
    wireVersion: WIRE_VERSION,
    logVersion: LOG_VERSION,
    term: 0,
    vmId: Buffer.alloc(16),
    name: facts.name,
    qemuBuildId: facts.qemuBuildId,
    configHash: facts.configHash,
    disks: facts.disks,
    host: facts.host,
    agentVersion: facts.agentVersion,
    arbiter: facts.arbiter,
    durability: facts.durability,
    settings: {
      ...firmwareSettings(facts.firmware),
      ...markSettings(facts.marks),
      [REPLICATION_PROTOCOL]: facts.protocol,
      [EPOCHS]: facts.epochs,
      ...(facts.guardPort === true ? { [GUARD_PORT]: 'yes' } : {}),
    },
  };
}

/** What the primary tells its backup. Heartbeats and durability are its to decide for both. */
export interface Terms {
  readonly vmId: Buffer;
  readonly term: number;
  readonly rtcBase: string;
  /** With the numbers for people: the hello has compared it, and a survivor has its own numbers. */
  readonly protocolName: string;
  readonly batchUsMax: number;
  readonly heartbeatMs: number;
  readonly heartbeatMissed: number;
  readonly lagMsMax: number;
  readonly durability: 'memory' | 'disk';
  /** The VM as run, JSON. */
  readonly vmConfig: string;
  readonly qemuArgs: readonly string[];
}

export function welcomeOf(facts: VmFacts, terms: Terms): Welcome {
  return {
    vmId: terms.vmId,
    term: terms.term,
    wireVersion: WIRE_VERSION,
    logVersion: LOG_VERSION,
    rtcBase: terms.rtcBase,
    protocolName: terms.protocolName,
    batchUsMax: terms.batchUsMax,
    heartbeatMs: terms.heartbeatMs,
    heartbeatMissed: terms.heartbeatMissed,
    lagMsMax: terms.lagMsMax,
    durability: terms.durability,
    vmConfig: terms.vmConfig,
    configHash: facts.configHash,
    qemuBuildId: facts.qemuBuildId,
    qemuArgs: terms.qemuArgs,
    disks: facts.disks,
    host: facts.host,
    agentVersion: facts.agentVersion,
    settings: {},
  };
}

/**
 * Why this backup cannot protect this primary, or null when it can. Disks may differ in
 * content where the VM runs already: the backup gets what it lacks.
 */
export function checkHello(
  hello: Hello,
  own: VmFacts,
  vm: 'at power-on' | 'running' = 'at power-on',
): Refuse | null {
  if (hello.protocol !== PROTOCOL) {
    return differs('protocol', 'protocol', PROTOCOL, hello.protocol);
  }
  if (hello.wireVersion !== WIRE_VERSION) {
    return differs('wire-version', 'wire version', String(WIRE_VERSION), String(hello.wireVersion));
  }
  if (hello.logVersion < LOG_VERSION) {
    return differs('log-version', 'log version', String(LOG_VERSION), String(hello.logVersion));
  }
  if (hello.name !== own.name) return differs('name-differs', 'VM name', own.name, hello.name);
  if (hello.qemuBuildId !== own.qemuBuildId) {
    return differs(
      'qemu-build-differs',
      'QEMU build id',
      own.qemuBuildId,
      hello.qemuBuildId,
      'run the same QEMU build on both sides',
    );
  }
  const firmware = checkFirmware(hello, own);
  if (firmware !== null) return firmware;
  const guard = checkGuardPort(hello, own);
  if (guard !== null) return guard;
  if (hello.configHash !== own.configHash) {
    return differs(
      'config-differs',
      'VM configuration hash',
      own.configHash,
      hello.configHash,
      'memory, kernel, initrd, append, devices and macs must be the same on both sides',
    );
  }
  const disk = checkDisks(hello, own, vm === 'running');
  if (disk !== null) return disk;
  if ((hello.arbiter === '') !== (own.arbiter === '')) {
    return differs(
      'arbiter-differs',
      'arbiter',
      own.arbiter === '' ? 'none' : own.arbiter,
      hello.arbiter === '' ? 'none' : hello.arbiter,
    );
  }
  const protocol = checkReplicationProtocol(hello, own);
  if (protocol !== null) return protocol;
  if (own.durability === 'disk' && hello.durability !== 'disk') {
    return differs('durability-differs', 'durability', own.durability, hello.durability);
  }
  return null;
}

/** In the hello's open list. */
const REPLICATION_PROTOCOL = 'replication.protocol';
const EPOCHS = 'replication.epochs';

/** Told only where there is one: the hello of a VM without it is as it was. */
const GUARD_PORT = 'guard.agent';

/** The hash differs with it, too; this says what differs. */
function checkGuardPort({ settings }: Hello, own: VmFacts): Refuse | null {
  const ours = own.guardPort === true ? 'yes' : 'no';
  const theirs = settings[GUARD_PORT] ?? 'no';
  if (theirs === ours) return null;
  return differs(
    'guard-differs',
    "guest's port for a guard",
    ours,
    theirs,
    'guard.enabled and guard.agent must be the same in both VM.toml',
  );
}

/** A survivor goes on by its own file: the two must not name different protocols. */
function checkReplicationProtocol({ settings }: Hello, own: VmFacts): Refuse | null {
  const theirs = settings[REPLICATION_PROTOCOL] ?? 'none';
  const epochs = settings[EPOCHS] ?? 'never';
  if (theirs === own.protocol && epochs !== own.epochs) {
    return differs(
      'epochs-differ',
      'epochs',
      own.epochs,
      epochs,
      'replication.interval_ms, interval_ms_max, epoch_pages_max, output_wait_us_max and disk must be the same in both VM.toml',
    );
  }
  if (theirs === own.protocol) return null;
  return differs(
    'replication-protocol-differs',
    'replication protocol',
    own.protocol,
    theirs,
    'replication.protocol must be the same in both VM.toml',
  );
}

const FIRMWARE = 'firmware/';

/** In the hello's open list: "firmware/bios-256k.bin" = sha256. */
function firmwareSettings(hashes: FirmwareHashes): Settings {
  const pairs = Object.entries(hashes).map(([name, hash]) => [FIRMWARE + name, hash]);
  return Object.fromEntries(pairs) as Settings;
}

function checkFirmware({ settings }: Hello, own: VmFacts): Refuse | null {
  const theirs: Record<string, string> = {};
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith(FIRMWARE)) theirs[name.slice(FIRMWARE.length)] = value;
  }
  const name = firmwareDifference(own.firmware, theirs);
  if (name === null) return null;
  return differs(
    'firmware-differs',
    `firmware ${name}`,
    firmwareHash(own.firmware, name),
    firmwareHash(theirs, name),
    'use the same packages of SeaBIOS and QEMU firmware on both sides ' +
      '(`understudy guest build` unpacks them; UNDERSTUDY_FIRMWARE_DIR may name another folder)',
  );
}

function checkDisks(hello: Hello, facts: VmFacts, sizeOnly: boolean): Refuse | null {
  const theirs = hello.disks;
  const ours = facts.disks;
  if (theirs.length !== ours.length) {
    return differs('disk-differs', 'number of disks', String(ours.length), String(theirs.length));
  }
  for (const [index, own] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) continue;
    const label = `disk ${index} (${own.name})`;
    if (other.bytes !== own.bytes) {
      return differs(
        'disk-differs',
        `size of ${label}`,
        `${own.bytes} bytes`,
        `${other.bytes} bytes`,
      );
    }
    if (!sizeOnly && other.xxh64 !== own.xxh64) {
      return differs(
        'disk-differs',
        `content hash of ${label}`,
        hex64(own.xxh64),
        hex64(other.xxh64),
        newerImage(facts.marks[index] ?? null, markOf(hello, index), hello.host),
      );
    }
  }
  return null;
}

/** Which of two images that differ is to be copied to the other side. */
function newerImage(own: ImageMark | null, theirs: ImageMark | null, host: string): string {
  const newer = newerOf(own, theirs);
  if (newer === null || own === null || theirs === null) {
    return "copy the primary's image to the backup while neither runs";
  }
  const both = `the primary's is ${describeMark(own)}, the backup's ${describeMark(theirs)}`;
  if (newer === own) {
    return `${both}: the primary's is newer; copy it to the backup while neither runs`;
  }
  return (
    `${both}: the backup's is newer; stop both, and start \`understudy primary\` on ${host}, ` +
    'with a copy of its image on this side'
  );
}

const MARK = 'image/';

/** In the hello's open list: "image/0" = what is beside the image of disk 0. */
function markSettings(marks: VmFacts['marks']): Settings {
  const pairs = marks.flatMap((mark, index) =>
    mark === null ? [] : [[`${MARK}${index}`, markText(mark)] as const],
  );
  return Object.fromEntries(pairs);
}

function markText({ vm_id: vmId, term, state, generation }: ImageMark): string {
  return `${vmId} ${generation ?? 0} ${term} ${state}`;
}

/** Null too for a mark that this version does not know. */
function markOf({ settings, name }: Hello, index: number): ImageMark | null {
  const text = settings[`${MARK}${index}`] ?? '';
  const match = /^([0-9a-f]{32}) (\d{1,9}) (\d{1,9}) (live|follows|ended)$/.exec(text);
  if (match === null) return null;
  const [, vmId = '', generation, term, state] = match;
  return {
    name,
    vm_id: vmId,
    term: Number(term),
    state: state as ImageMark['state'],
    instance: '',
    generation: Number(generation) || null,
  };
}

function differs(
  code: string,
  what: string,
  expected: string,
  actual: string,
  remedy?: string,
): Refuse {
  const advice = remedy === undefined ? '' : `; ${remedy}`;
  return {
    code,
    message: `the ${what} differs: primary has ${expected}, backup has ${actual}${advice}`,
    expected,
    actual,
  };
}
