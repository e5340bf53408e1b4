// SPDX-License-Identifier: Apache-2.0
/** Finds and loads the addon; index.ts, link.ts, state.ts, quorum.ts and courier.ts give it types and words. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { messageOf, UnderstudyError } from '../../src/base/errors.ts';
import type { RingStatus } from './ring-words.ts';
import type { LastSeal, SealHeader } from './testing.ts';

export interface NativeStatus
  extends Omit<RingStatus, 'state' | 'endReason' | 'point' | 'bound' | 'checkpoint' | 'events'> {
  readonly state: number;
  readonly endReason: number;
  readonly icount: bigint;
  readonly icountMax: bigint;
  readonly checkpointIcount: bigint;
}

export interface NativeRing {
  descriptors(): { shmFd: number; notifyFd: number; wakeFd: number };
  onNotify(cb: () => void): void;
  fill(frame: Uint8Array, offset: number, length: number): boolean;
  startAt(record: bigint, dataOffset: bigint): void;
  hear(icount: bigint, vtimeNs: bigint): void;
  command(kind: number, channel: number, payload?: Uint8Array): boolean;
  control(flag: number): void;
  clearControl(flag: number): void;
  requestDiskMark(): bigint;
  requestCheckpoint(): bigint;
  requestFullCheckpoint(): void;
  setIcountMax(icount: bigint): void;
  status(): NativeStatus;
  place(into: BigUint64Array): void;
  events(into: BigUint64Array): void;
  setEpochs(
    ns: bigint,
    packetNs: bigint,
    inFlight: number,
    digestEvery: number,
    events: number,
    ioLog: boolean,
    pagesMax: number,
  ): void;
  beginEpochs(): bigint;
  setEnded(): void;
  destroy(): void;
}

export interface NativeLog {
  /** Copied: the caller closes its own. */
  readonly fd: number;
  readonly dir: string;
  readonly index: number;
  readonly offset: number;
  readonly bytesMax: number;
  /** The first file's header frame; later files get theirs from it. */
  readonly header: Uint8Array;
}

export interface NativeKeys {
  names(): string[];
  endsMs(): number;
  ownFault(): string;
}

export interface NativeLink {
  secure(keys: NativeKeys, listens: boolean, peerName: string): void;
  start(events: NativeEvents): void;
  connect(addresses: readonly string[], port: number): void;
  lost(message: string): void;
  remote(): string;
  send(frame: Uint8Array): boolean;
  end(): void;
  drop(): void;
  heardMs(): number;
  beat(frame: Uint8Array, intervalMs: number, forMs: number): boolean;
  heardBeat(): [Buffer, bigint] | null;
}

export interface NativeListener {
  accept(into: NativeLink): boolean;
  port(): number;
  close(): void;
}

export interface NativeCourier {
  attach(link: NativeLink, from?: object): void;
  ship(options: object): void;
  receive(options: object): void;
  handOver(fd: number): void;
  keepState(dir: string): void;
  watch(limits: object): void;
  lastWords(ofDisk: Uint8Array, ofCourier: Uint8Array, ofControl: Uint8Array): void;
  command(command: number): void;
  detach(term: number): void;
  protect(): void;
  facts(into: BigUint64Array): void;
  close(): void;
  destroy(): void;
}

export interface NativeReplica {
  hello(to: number): Buffer;
  attach(link: NativeLink, hello: Uint8Array, answers: boolean): number;
  drop(peer: number): void;
  propose(bytes: Uint8Array): void;
  transfer(to: number): void;
  run(ring: NativeRing): void;
  lead(options: object): void;
  flush(): void;
  vmFacts(into: BigUint64Array): void;
  facts(): {
    readonly role: string;
    readonly term: bigint;
    readonly leader: number;
    readonly lastIndex: bigint;
    readonly committedIndex: bigint;
    readonly connected: readonly number[];
  };
  destroy(): void;
}

/** addon/quorum/replica_host.h */
export type NativeReplicaEvents = (
  kind: number,
  number: number,
  text: string,
  more: string,
  bytes: Buffer,
) => void;

export interface NativeStateSender {
  send(part: number, path: string, blockBytes: number, have?: BigUint64Array): void;
  pieces(): bigint;
  close(): void;
}

export interface NativeStateReceiver {
  add(fd: number, bytes: number, isWhole: boolean): void;
  end(pieces: bigint): void;
  pressed(): boolean;
  close(): void;
}

export type NativeStateEvents = (event: string, ...words: readonly (number | string)[]) => void;

/** addon/image_js.h */
export interface NativeImage {
  memoryFd(): number;
  restFd(): number;
  release(): void;
}

/** addon/image/redo.h */
export interface NativeRedone {
  /** They were written again. */
  readonly epochs: number;
  /** The last one's number. */
  readonly last: number;
  /** The end of one was found that was never acknowledged. */
  readonly dropped: boolean;
}

export type NativeEvents = (kind: number, text: string, more: string, bytes: Buffer) => void;

/** Behind testing.ts. */
export interface NativeTesting {
  seal(ring: NativeRing, into: Uint8Array, offset: number, header: SealHeader): number;
  lastSeal(ring: NativeRing): LastSeal;
  outPending(ring: NativeRing): number;
  commit(ring: NativeRing, recordEnd: bigint): void;
  batchFrameBytesMax: number;
  SimCourier: new (ring: NativeRing) => NativeSimCourier;
  Journal: new (disks: readonly string[], durable: boolean) => NativeJournal;
  Epochs: new (ring: NativeRing, memoryBytes: number, disks: readonly string[]) => NativeEpochs;
  putPieces(ring: NativeRing, pieces: [words: BigUint64Array, data: Uint8Array | null][]): void;
  guestPut(
    ring: NativeRing,
    kind: number,
    icount: bigint,
    len: number,
    arg: bigint,
    payload?: Uint8Array,
    channel?: number,
  ): number;
  guestTake(ring: NativeRing, icount: bigint): [bigint, number, bigint][];
  guestGoesLive(ring: NativeRing): void;
  guestSays(ring: NativeRing, words: BigUint64Array): void;
  guestSees(ring: NativeRing, words: BigUint64Array): void;
  stateFrame(
    ordinal: bigint,
    part: number,
    offset: bigint,
    bytes: bigint,
    data?: Uint8Array,
    epoch?: bigint,
    isPatch?: boolean,
    isPacked?: boolean,
  ): Buffer;
  pack(data: Uint8Array): Buffer;
  patchOf(before: Uint8Array, now: Uint8Array): Buffer;
  applyPatch(memory: Uint8Array, patch: Uint8Array): void;
  Intake: new () => NativeIntake;
}

/** addon/state/intake.h */
export interface NativeIntake {
  add(bytes: number, isWhole: boolean): number;
  take(frame: Uint8Array): {
    readonly ordinal: bigint;
    readonly part: number;
    readonly offset: bigint;
    readonly bytes: bigint;
    readonly data: Buffer | null;
  };
  end(pieces: bigint): void;
}

/** Disk, offset, bytes, data (null: zeros). */
export type NativeDiskWrite = readonly [number, number, number, Uint8Array | null];

/** addon/testing/journal.h */
export interface NativeJournal {
  prepare(epoch: number, writes: readonly NativeDiskWrite[]): void;
  begin(epoch: number): void;
  write(one: NativeDiskWrite): void;
  end(epoch: number): void;
  leave(): void;
  close(): void;
}

/** addon/testing/epochs.h */
export interface NativeEpochs {
  take(into: BigUint64Array): boolean;
  digest(): bigint;
  facts(): [string, number][];
  memoryFd(): number;
  restFd(): number;
  handOver(): void;
  close(): void;
}

/** addon/testing/sim_courier.h; times in ns since the simulation's beginning. */
export interface NativeSimCourier {
  atTime(ns: number): void;
  ship(options: object): void;
  receive(options: object): void;
  attach(from?: object): void;
  leave(): void;
  take(frame: Uint8Array): boolean;
  stepReceiver(): number;
  stepShipper(): number;
  unwritten(side: 0 | 1): Buffer;
  written(side: 0 | 1, fault?: string): void;
  sent(): Buffer | null;
  events(): [number, string, string, Buffer][] | null;
  command(name: string): void;
  detach(term: number): void;
  protect(): void;
  facts(into: BigUint64Array): bigint | undefined;
  destroy(): void;
}

export interface Native {
  ExitRing: new (recordSlots: number, dataBytes: number, stateBytes: number) => NativeRing;
  /** Each list in the order of the numbers that stand for its names (addon/bits/facts.h …). */
  courierWords: Record<'facts' | 'events' | 'commands', readonly string[]>;
  /** Kinds of record, as the ring's ABI has them. */
  kinds: readonly {
    readonly name: string;
    readonly kind: number;
    readonly hasPayload: boolean;
  }[];
  Keys: new (
    ca: string,
    cert: string,
    key: string,
    crl: string,
    recordsPerKey: number,
  ) => NativeKeys;
  Link: new () => NativeLink;
  Listener: new (address: string, port: number, ready: () => void) => NativeListener;
  Image: new (
    memoryBytes: number,
    disks: readonly string[],
    durable: boolean,
    stagedBytesMax: number,
  ) => NativeImage;
  Courier: new (ring: NativeRing, events: NativeEvents, progressUs: number) => NativeCourier;
  Replica: new (options: object, events: NativeReplicaEvents) => NativeReplica;
  /** Names of events, in the order of their numbers. */
  replicaEvents: readonly string[];
  StateSender: new (link: NativeLink, events: NativeStateEvents) => NativeStateSender;
  StateReceiver: new (link: NativeLink, events: NativeStateEvents) => NativeStateReceiver;
  checkFrame(buffer: Uint8Array, offset: number, available: number): number;
  sealControl(frame: Uint8Array): void;
  charOut(frame: Uint8Array, offset: number, length: number, channel: number): Buffer;
  xxh64(data: Uint8Array, seed: bigint): bigint;
  redoDisks(images: readonly string[]): NativeRedone | null;
  hashFile(path: string): Promise<{ xxh64: bigint; bytes: number }>;
  hashBlocks(path: string, blockBytes: number): Promise<BigUint64Array>;
  applyDisk(file: string, image: string): Promise<void>;
  hostClock(): { synchronised: boolean; errorMs: number } | null;
  zeroRange(fd: number, offset: number, bytes: number): void;
  dataRanges(fd: number, bytes: number): Float64Array;
  openTap(name: string): number;
  testing: NativeTesting;
}

function loadAddon(): Native {
  const name = 'build/Release/kvm_exit_log.node';
  // This file runs from the source tree and, compiled, from dist/native/kvm-exit-log/.
  const places = [`./${name}`, `../../../native/kvm-exit-log/${name}`];
  const found = places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((place) => existsSync(place));
  if (found === undefined) {
    throw new UnderstudyError(
      'addon-missing',
      'the native addon is not built: run `npm run bootstrap`',
    );
  }
  try {
    return createRequire(import.meta.url)(found) as Native;
  } catch (cause) {
    throw new UnderstudyError(
      'addon-missing',
      `the native addon ${found} does not load (${messageOf(cause)}): run \`npm run bootstrap\``,
      { cause },
    );
  }
}

export const native: Native = loadAddon();
