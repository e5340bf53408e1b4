// SPDX-License-Identifier: Apache-2.0
/**
 * The control messages (schema/wire.capnp): plain objects ↔ frames.
 *
 * Batches are not here: they are the addon's, and TypeScript moves them whole.
 * Acks and heartbeats are sent all the time and have files of their own (ack.ts, heartbeat.ts).
 */

import type { Struct, StructCtor } from 'capnp-ts';
import * as schema from '../../schema/wire.capnp.ts';
import { printable, printableMessage } from '../base/printable.ts';
import { type ControlDraft, draftControl, FRAME, openControl, reading } from '../log/frame.ts';
import { damaged, type Frame } from './parser.ts';

export { type Ack, decodeAck, encodeAck } from './ack.ts';
export { decodeHeartbeat, encodeHeartbeat, type Heartbeat } from './heartbeat.ts';

/** Raised for any change that a peer of this version would misread. */
export const WIRE_VERSION = 5;
export const PROTOCOL = 'understudy';

/** 16 bytes; all zero: none. */
export type VmId = Buffer;

export interface DiskFacts {
  readonly name: string;
  readonly bytes: bigint;
  readonly xxh64: bigint;
}

export type Settings = Readonly<Record<string, string>>;

export interface Hello {
  readonly protocol: string;
  readonly wireVersion: number;
  readonly logVersion: number;
  readonly term: number;
  readonly vmId: VmId;
  readonly name: string;
  readonly qemuBuildId: string;
  readonly configHash: string;
  readonly disks: readonly DiskFacts[];
  readonly host: string;
  readonly agentVersion: string;
  readonly arbiter: string;
  readonly durability: string;
  readonly settings: Settings;
}

export interface Welcome {
  readonly vmId: VmId;
  readonly term: number;
  readonly wireVersion: number;
  readonly logVersion: number;
  readonly rtcBase: string;
  readonly protocolName: string;
  readonly batchUsMax: number;
  readonly heartbeatMs: number;
  readonly heartbeatMissed: number;
  readonly lagMsMax: number;
  readonly durability: string;
  readonly vmConfig: string;
  readonly configHash: string;
  readonly qemuBuildId: string;
  readonly qemuArgs: readonly string[];
  readonly disks: readonly DiskFacts[];
  readonly host: string;
  readonly agentVersion: string;
  readonly settings: Settings;
}

export interface Refuse {
  readonly code: string;
  readonly message: string;
  readonly expected: string;
  readonly actual: string;
}

export interface Goodbye {
  readonly reason: string;
  readonly message: string;
  readonly lastSequence: bigint;
  readonly term: number;
}

type ControlType = Parameters<typeof draftControl>[0];

export function encode<T extends Struct>(
  type: ControlType,
  ctor: StructCtor<T>,
  fill: (root: T) => void,
): Buffer {
  const draft: ControlDraft<T> = draftControl(type, ctor);
  fill(draft.root);
  return draft.frame();
}

/** @throws UnderstudyError peer-protocol */
export function decode<T extends Struct, R>(
  frame: Frame,
  type: ControlType,
  ctor: StructCtor<T>,
  read: (root: T) => R,
): R {
  try {
    const root = openControl(frame.buffer, frame.offset, frame.length, type, ctor);
    return reading(() => read(root));
  } catch (cause) {
    throw damaged(frame, cause);
  }
}

interface HasVmId {
  setVmIdLo(value: bigint): void;
  setVmIdHi(value: bigint): void;
  getVmIdLo(): bigint;
  getVmIdHi(): bigint;
}

function setVmId(root: HasVmId, vmId: VmId): void {
  root.setVmIdLo(vmId.readBigUInt64LE(0));
  root.setVmIdHi(vmId.readBigUInt64LE(8));
}

function getVmId(root: HasVmId): VmId {
  const vmId = Buffer.alloc(16);
  vmId.writeBigUInt64LE(root.getVmIdLo(), 0);
  vmId.writeBigUInt64LE(root.getVmIdHi(), 8);
  return vmId;
}

interface HasLists {
  initDisks(length: number): { get(index: number): schema.Disk };
  getDisks(): { getLength(): number; get(index: number): schema.Disk };
  initSettings(length: number): { get(index: number): schema.Setting };
  getSettings(): { getLength(): number; get(index: number): schema.Setting };
}

function setLists(root: HasLists, disks: readonly DiskFacts[], settings: Settings): void {
  const diskList = root.initDisks(disks.length);
  disks.forEach((disk, index) => {
    const item = diskList.get(index);
    item.setName(disk.name);
    item.setBytes(disk.bytes);
    item.setXxh64(disk.xxh64);
  });
  const pairs = Object.entries(settings);
  const settingList = root.initSettings(pairs.length);
  pairs.forEach(([name, value], index) => {
    const item = settingList.get(index);
    item.setName(name);
    item.setValue(value);
  });
}

function getDisks(root: HasLists): DiskFacts[] {
  const list = root.getDisks();
  return Array.from({ length: list.getLength() }, (_, index) => {
    const item = list.get(index);
    return { name: printable(item.getName()), bytes: item.getBytes(), xxh64: item.getXxh64() };
  });
}

function getSettings(root: HasLists): Settings {
  const list = root.getSettings();
  return Object.fromEntries(
    Array.from({ length: list.getLength() }, (_, index) => {
      const item = list.get(index);
      return [printable(item.getName()), printable(item.getValue())];
    }),
  );
}

export function encodeHello(hello: Hello): Buffer {
  return encode(FRAME.HELLO, schema.Hello, (root) => {
    root.setProtocol(hello.protocol);
    root.setWireVersion(hello.wireVersion);
    root.setLogVersion(hello.logVersion);
    root.setTerm(hello.term);
    setVmId(root, hello.vmId);
    root.setName(hello.name);
    root.setQemuBuildId(hello.qemuBuildId);
    root.setConfigHash(hello.configHash);
    root.setHost(hello.host);
    root.setAgentVersion(hello.agentVersion);
    root.setArbiter(hello.arbiter);
    root.setDurability(hello.durability);
    setLists(root, hello.disks, hello.settings);
  });
}

export function decodeHello(frame: Frame): Hello {
  return decode(frame, FRAME.HELLO, schema.Hello, (root) => ({
    protocol: printable(root.getProtocol()),
    wireVersion: root.getWireVersion(),
    logVersion: root.getLogVersion(),
    term: root.getTerm(),
    vmId: getVmId(root),
    name: printable(root.getName()),
    qemuBuildId: printable(root.getQemuBuildId()),
    configHash: printable(root.getConfigHash()),
    disks: getDisks(root),
    host: printable(root.getHost()),
    agentVersion: printable(root.getAgentVersion()),
    arbiter: printable(root.getArbiter()),
    durability: printable(root.getDurability()),
    settings: getSettings(root),
  }));
}

export function encodeWelcome(welcome: Welcome): Buffer {
  return encode(FRAME.WELCOME, schema.Welcome, (root) => {
    setVmId(root, welcome.vmId);
    root.setTerm(welcome.term);
    root.setWireVersion(welcome.wireVersion);
    root.setLogVersion(welcome.logVersion);
    root.setRtcBase(welcome.rtcBase);
    root.setProtocolName(welcome.protocolName);
    root.setBatchUsMax(welcome.batchUsMax);
    root.setHeartbeatMs(welcome.heartbeatMs);
    root.setHeartbeatMissed(welcome.heartbeatMissed);
    root.setLagMsMax(welcome.lagMsMax);
    root.setDurability(welcome.durability);
    root.setVmConfig(welcome.vmConfig);
    root.setConfigHash(welcome.configHash);
    root.setQemuBuildId(welcome.qemuBuildId);
    const args = root.initQemuArgs(welcome.qemuArgs.length);
    welcome.qemuArgs.forEach((arg, index) => {
      args.set(index, arg);
    });
    root.setHost(welcome.host);
    root.setAgentVersion(welcome.agentVersion);
    setLists(root, welcome.disks, welcome.settings);
  });
}

export function decodeWelcome(frame: Frame): Welcome {
  return decode(frame, FRAME.WELCOME, schema.Welcome, (root) => {
    const args = root.getQemuArgs();
    return {
      vmId: getVmId(root),
      term: root.getTerm(),
      wireVersion: root.getWireVersion(),
      logVersion: root.getLogVersion(),
      rtcBase: root.getRtcBase(),
      protocolName: root.getProtocolName(),
      batchUsMax: root.getBatchUsMax(),
      heartbeatMs: root.getHeartbeatMs(),
      heartbeatMissed: root.getHeartbeatMissed(),
      lagMsMax: root.getLagMsMax(),
      durability: root.getDurability(),
      vmConfig: root.getVmConfig(),
      configHash: root.getConfigHash(),
      qemuBuildId: root.getQemuBuildId(),
      qemuArgs: Array.from({ length: args.getLength() }, (_, index) => args.get(index)),
      disks: getDisks(root),
      host: root.getHost(),
      agentVersion: root.getAgentVersion(),
      settings: getSettings(root),
    };
  });
}

export function encodeRefuse(refuse: Refuse): Buffer {
  return encode(FRAME.REFUSE, schema.Refuse, (root) => {
    root.setCode(refuse.code);
    root.setMessage(refuse.message);
    root.setExpected(refuse.expected);
    root.setActual(refuse.actual);
  });
}

export function decodeRefuse(frame: Frame): Refuse {
  return decode(frame, FRAME.REFUSE, schema.Refuse, (root) => ({
    code: printable(root.getCode()),
    message: printableMessage(root.getMessage()),
    expected: printable(root.getExpected()),
    actual: printable(root.getActual()),
  }));
}

export function encodeGoodbye(goodbye: Goodbye): Buffer {
  return encode(FRAME.GOODBYE, schema.Goodbye, (root) => {
    root.setReason(goodbye.reason);
    root.setMessage(goodbye.message);
    root.setLastSequence(goodbye.lastSequence);
    root.setTerm(goodbye.term);
  });
}

export function decodeGoodbye(frame: Frame): Goodbye {
  return decode(frame, FRAME.GOODBYE, schema.Goodbye, (root) => ({
    reason: printable(root.getReason()),
    message: printableMessage(root.getMessage()),
    lastSequence: root.getLastSequence(),
    term: root.getTerm(),
  }));
}
