// SPDX-License-Identifier: Apache-2.0
/** A VM of the reference guest whose epochs are cut, and what its log says of them. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  Courier,
  checkFrame,
  type EpochNumbers,
  type ExitRing,
} from '../../native/kvm-exit-log/index.ts';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { silentLogger } from '../../src/base/logger.ts';
import { RECORDER } from '../../src/epochs/lockstep.ts';
import { Batch, type LogRecord, readDigest } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import { KIND, kindHasPayload } from '../../src/log/kinds.ts';
import { LogFile } from '../../src/log/log-file.ts';
import { listSegments } from '../../src/log/segment.ts';
import { type AccelName, DEFAULT_ACCEL } from '../../src/vm/accel/registry.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { Machine } from '../../src/vm/machine.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import type { ImageFds, QemuExit } from '../../src/vm/qemu-process.ts';
import { referenceGuest } from './workloads.ts';

const guest = await referenceGuest();
const qemu = await findQemu();
const VM_ID = Buffer.alloc(16, 0x5e);
const STATE_BYTES = 16 * 1024 * 1024;
export const MS = 1_000_000n;
/**
 * The last words to a shell whose output somebody waits for. Linux drops what the UART has not sent
 * yet when the leader of a session exits (uart_hangup), and with vCPUs on threads of their own one can be
 * that quick; stty waits until all is sent (TCSADRAIN).
 */
export const LEAVE = 'stty -echo; exit\n';

/** Main memory of a VM here: VM.toml's default. */
export const MEMORY_BYTES = 256 * 1024 * 1024;

export type Digest = ReturnType<typeof readDigest>;

export interface EpochVmOptions {
  /** Exists, and is its own. */
  readonly dir: string;
  /** Words for the guest's kernel. */
  readonly words: string;
  readonly numbers: EpochNumbers;
  readonly vcpus?: number;
  /** Default: VM.toml's. */
  readonly accel?: AccelName;
  /** Its disk's; default: VM.toml's. */
  readonly diskInterface?: 'virtio-blk' | 'virtio-scsi' | 'ide';
  /** Default: none. */
  readonly vga?: boolean;
  /** Something that its QEMU does wrong on purpose (qemu/exitlog/verify/fault.c). */
  readonly fault?: string | undefined;
  /** Instead of the guest's own. */
  readonly initrd?: string;
  /** It waits beside an image, whose rest will be in the file. */
  readonly image?: ImageFds;
}

/** The guest's disk as it is at power-on, in a folder; under this name a VM there has it. */
export function makeDisk(dir: string, name = 'disk.raw'): string {
  const path = join(dir, name);
  execFileSync('cp', ['--sparse=always', guest.disk_template, path]);
  return path;
}

/** The reference guest knows virtio-blk alone. */
async function guestFor(diskInterface: string) {
  if (diskInterface === 'virtio-blk') return guest;
  const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
  return { kernel, initrd, append: `${guest.append} ${append}` };
}

export class EpochVm {
  readonly machine: Machine;
  readonly ring: ExitRing;
  /** What the guest printed and may be shown. */
  console = '';
  readonly #logDir: string;
  #log: LogFile | null = null;
  #courier: Courier | null = null;
  #exit: QemuExit | null = null;
  #failure: string | null = null;

  private constructor(machine: Machine, dir: string) {
    this.machine = machine;
    this.ring = machine.ring;
    this.#logDir = join(dir, 'log');
    void machine.exited.then((exit) => {
      this.#exit = exit;
    });
  }

  /** Its disk is in its folder (makeDisk). Its log is begun by `logs`. */
  static async start(options: EpochVmOptions): Promise<EpochVm> {
    const { dir, words, numbers, vcpus = 1, image, fault, diskInterface = 'virtio-blk' } = options;
    const booted = await guestFor(diskInterface);
    const toml = [
      'name = "epochs"',
      `vcpus = ${vcpus}`,
      `vga = ${options.vga ?? false}`,
      `accel = "${options.accel ?? DEFAULT_ACCEL}"`,
      `kernel = ${JSON.stringify(booted.kernel)}`,
      `initrd = ${JSON.stringify(options.initrd ?? booted.initrd)}`,
      `append = ${JSON.stringify(`${booted.append} us.disk=1 ${words}`)}`,
      '[[disk]]',
      'image = "disk.raw"',
      `interface = "${diskInterface}"`,
      '[[nic]]',
      'user = true',
    ].join('\n');
    writeFileSync(join(dir, 'vm.toml'), toml);
    const common = { rtcBase: '2026-11-21T07:00:00', net: 'configured' } as const;
    const machine = await Machine.start({
      config: loadConfig(join(dir, 'vm.toml')),
      qemu,
      logger: silentLogger(),
      args:
        image === undefined ? { mode: 'record', ...common, fault } : { mode: 'replay', ...common },
      ring: { stateBytes: STATE_BYTES },
      ...(image === undefined ? {} : { image }),
    });
    machine.ring.setEpochs(numbers);
    return new EpochVm(machine, dir);
  }

  /** How its QEMU ended; null: it has not. */
  get exit(): QemuExit | null {
    return this.#exit;
  }

  /** From now on its log is carried; from where it is. */
  logs(): void {
    const log = new LogFile(this.#logDir, { vmId: VM_ID, term: 1, qemuBuildId: qemu.buildId });
    const failed = (...why: unknown[]): void => {
      this.#failure = why.join(' ');
    };
    const courier = new Courier(this.ring, {
      first: failed,
      logEnded: failed,
      diverged: failed,
      logFailed: failed,
      broken: failed,
      progress: () => {},
      console: (bytes) => {
        this.console += bytes.toString('latin1');
      },
    });
    courier.ship({
      vmId: VM_ID,
      term: 1,
      acksNeeded: RECORDER.commit,
      durable: false,
      seal: RECORDER.seal,
      log: log.start,
    });
    this.#log = log;
    this.#courier = courier;
  }

  type(text: string): void {
    assert.ok(this.ring.command(KIND.CHAR_IN, 0, Buffer.from(text)), 'the ring has room');
  }

  /** Its log is whole on the disk; its QEMU has ended. */
  async settle(): Promise<void> {
    await this.machine.exited;
    assert.is(this.#failure, null);
    const awake = setInterval(() => {}, 1000); // a courier keeps nobody's event loop alive
    await this.#courier?.flush();
    await this.#courier?.close();
    clearInterval(awake);
    this.#log?.close();
    this.#log = null;
  }

  async end(): Promise<void> {
    this.machine.kill();
    await this.settle();
    await this.machine.end();
  }

  /** All records of its log, which is settled; also of one that does not begin at power-on. */
  async records(): Promise<LogRecord[]> {
    const all: LogRecord[] = [];
    for (const { file } of await listSegments(this.#logDir)) {
      const bytes = readFileSync(file);
      for (let at = 0; at < bytes.length; ) {
        const frame = checkFrame(bytes, at, bytes.length - at);
        if (frame.type === FRAME.BATCH) all.push(...Batch.open(bytes, at, frame.bytes).records());
        at += frame.bytes;
      }
    }
    return all;
  }
}

/** What a log says of the end of an epoch. */
export interface LoggedCut {
  /** The one right before it. */
  readonly digest: Digest | null;
  /** Where the stream of payloads is after it. */
  readonly dataEnd: bigint;
}

/** Ends of epochs, by the ordinal of their CHECKPOINT record. */
export function cutsOf(records: readonly LogRecord[]): Map<bigint, LoggedCut> {
  const cuts = new Map<bigint, LoggedCut>();
  let digest: Digest | null = null;
  let dataEnd = 0n;
  for (const { kind, payload, ordinal, arg, len } of records) {
    if (kindHasPayload(kind)) dataEnd = arg + ((BigInt(len) + 7n) & ~7n);
    if (kind === KIND.DIGEST && payload !== null) digest = readDigest(payload);
    if (kind === KIND.CHECKPOINT) cuts.set(ordinal, { digest, dataEnd });
  }
  return cuts;
}

/** What the guest printed before this record. */
export function consoleBefore(records: readonly LogRecord[], ordinal: bigint): string {
  return records
    .filter((record) => record.kind === KIND.CHAR_OUT && record.ordinal < ordinal)
    .map(({ payload }) => Buffer.from(payload ?? []).toString('latin1'))
    .join('');
}
