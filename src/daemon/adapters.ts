// SPDX-License-Identifier: Apache-2.0
/** The real world behind ports.ts: the addon's ring, a QEMU process, the log writer. */
import { createConnection } from 'node:net';
import {
  CONTROL,
  charOut,
  checkFrame,
  ExitRing,
  ICOUNT_UNBOUNDED,
} from '../../native/kvm-exit-log/index.ts';
import type { Logger } from '../base/logger.ts';
import { readBatchHeader } from '../log/batch.ts';
import { KIND } from '../log/kinds.ts';
import type { LogWriter } from '../log/log-writer.ts';
import { ConsoleInput } from '../record/console-input.ts';
import { describeReport, parseReport } from '../replay/divergence.ts';
import type { Address, VmConfig } from '../vm/config.ts';
import { faultFromEnv, qemuArgs } from '../vm/qemu-args.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { type QemuExit, QemuProcess } from '../vm/qemu-process.ts';
import { Connection, type LinkEvents } from '../wire/connection.ts';
import type { BatchLog, BatchReader, Clock, Ring, RingSnapshot, Vm, VmExit } from './ports.ts';

export const hostClock: Clock = {
  // CLOCK_MONOTONIC, the clock of shm's live_at_ns.
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
  soon: (run) => {
    setImmediate(run);
  },
};

export const batchReader: BatchReader = {
  check(buffer, offset, length) {
    checkFrame(buffer, offset, length);
    const header = readBatchHeader(buffer, offset);
    return {
      vmId: Buffer.from(header.vmId, 'hex'),
      term: header.term,
      sequence: header.sequence,
      recordBase: header.recordBase,
      recordEnd: header.recordEnd,
      prevChecksum: header.prevChecksum,
      checksum: header.checksum,
      horizon: { icount: header.horizonIcount, vtimeNs: header.horizonVtimeNs },
      records: header.recordCount,
      // Only a batch with payload can carry console bytes.
      charOutBytes: header.dataBytes,
    };
  },
  charOut: (buffer, offset, length) => charOut(buffer, offset, length),
};

const INPUT_BYTES_MAX = 64 * 1024;

/** The addon's ring as the state machines see it; usable, as a memory, after `destroy`. */
class HostRing implements Ring {
  readonly exitRing: ExitRing;
  readonly #input: ConsoleInput;
  #notify: () => void = () => {};
  #last: RingSnapshot | null = null;
  #destroyed = false;

  constructor() {
    this.exitRing = new ExitRing();
    this.#input = new ConsoleInput(this.exitRing);
    this.exitRing.onNotify(() => {
      if (this.#input.queuedBytes > 0) this.#input.flush();
      this.#notify();
    });
  }

  onNotify(run: () => void): void {
    this.#notify = run;
  }

  seal(...args: Parameters<Ring['seal']>): number {
    return this.#destroyed ? 0 : this.exitRing.seal(...args);
  }

  lastSeal() {
    const last = this.exitRing.lastSeal();
    return { ...last, horizon: { icount: last.horizonIcount, vtimeNs: last.horizonVtimeNs } };
  }

  outPending(): number {
    return this.#destroyed ? 0 : this.exitRing.outPending();
  }

  commit(recordEnd: bigint): void {
    if (!this.#destroyed) this.exitRing.commit(recordEnd);
  }

  fill(frame: Buffer, offset: number, length: number): boolean {
    return !this.#destroyed && this.exitRing.fill(frame, offset, length);
  }

  typeConsole(bytes: Uint8Array): boolean {
    if (this.#destroyed || this.#input.queuedBytes > INPUT_BYTES_MAX) return false;
    this.#input.type(bytes);
    return true;
  }

  powerdown(): boolean {
    return !this.#destroyed && this.exitRing.command(KIND.POWERDOWN, 0);
  }

  goLive(): void {
    this.#control(CONTROL.GO_LIVE | CONTROL.DETACHED);
  }

  detach(): void {
    this.#control(CONTROL.DETACHED);
  }

  stop(): void {
    this.#control(CONTROL.STOP);
  }

  setIcountMax(icount: bigint | null): void {
    if (!this.#destroyed) this.exitRing.setIcountMax(icount ?? ICOUNT_UNBOUNDED);
  }

  snapshot(): RingSnapshot {
    if (this.#destroyed && this.#last !== null) return this.#last;
    const status = this.exitRing.status();
    this.#last = {
      state: status.state,
      endReason: status.endReason,
      position: { icount: status.icount, vtimeNs: status.vtimeNs },
      heartbeat: status.heartbeat,
      visits: status.visits,
      outputs: status.outputs,
      outputsReleased: status.outputsReleased,
      inPending: status.inPending,
      liveAtNs: status.liveAtNs,
      error: status.error === '' ? null : status.error,
    };
    return this.#last;
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.snapshot();
    this.#destroyed = true;
    this.exitRing.destroy();
  }

  #control(flags: number): void {
    if (!this.#destroyed) this.exitRing.control(flags);
  }
}

export interface LaunchOptions {
  readonly config: VmConfig;
  readonly qemu: QemuBinary;
  readonly logger: Logger;
  readonly mode: 'record' | 'replay';
  readonly rtcBase: string;
  readonly hangTimeoutMs: number;
}

/** A QEMU with its ring. */
export async function launchVm(options: LaunchOptions): Promise<Vm> {
  const { config, qemu, logger, mode, rtcBase, hangTimeoutMs } = options;
  const ring = new HostRing();
  let process: QemuProcess;
  try {
    process = await QemuProcess.spawn({
      binary: qemu.path,
      args: qemuArgs(config, {
        mode,
        rtcBase,
        firmwareDir: qemu.firmwareDir,
        net: 'configured',
        // Of a backup too: it logs when it has gone live.
        digestEvery: config.replication?.digestEvery ?? 0,
        fault: faultFromEnv(),
      }),
      ring: ring.exitRing,
      logger,
      hangTimeoutMs,
    });
  } catch (error) {
    ring.destroy();
    throw error;
  }
  const listeners: ((exit: VmExit) => void)[] = [];
  const exited = process.exited.then((exit) => {
    const told = explain(exit, ring.snapshot().endReason);
    for (const listener of listeners) listener(told);
  });
  return {
    ring,
    pid: process.pid,
    exited,
    onExit: (run) => {
      listeners.push(run);
    },
    kill: () => process.kill(),
    destroy: () => ring.destroy(),
  };
}

function explain(exit: QemuExit, endReason: string | null): VmExit {
  const { reason } = exit;
  if (reason === 'ended') {
    const message = endReason === 'stop' ? 'the VM was stopped' : 'the guest powered off';
    return { reason, message };
  }
  if (reason === 'diverged') {
    const report = parseReport(exit.shmError);
    if (report !== null) return { reason, message: describeReport(report).join('\n') };
  }
  const said = exit.error?.message ?? (exit.shmError || exit.stderr.trim().slice(-500));
  return { reason, message: said === '' ? `QEMU was ${reason}` : said };
}

/** A log of which `append` calls back, durable or not. */
export function batchLog(writer: LogWriter, durability: 'memory' | 'disk'): BatchLog {
  if (durability === 'memory') {
    return {
      append: (frame, done) => {
        writer.append(frame).then(() => done(null), done);
      },
      close: () => writer.close(),
    };
  }
  // One fdatasync at a time; whatever was written before it began is done with it.
  let written: ((error: Error | null) => void)[] = [];
  let syncing = false;
  const pump = async (): Promise<void> => {
    if (syncing) return;
    syncing = true;
    while (written.length > 0) {
      const batch = written;
      written = [];
      let failure: Error | null = null;
      try {
        await writer.sync();
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
      for (const done of batch) done(failure);
    }
    syncing = false;
  };
  return {
    append: (frame, done) => {
      writer.append(frame).then(() => {
        written.push(done);
        void pump();
      }, done);
    },
    close: () => writer.close(),
  };
}

/** Connects; failures arrive as `closed`. */
export function connectTo(address: Address): (events: LinkEvents) => Connection {
  const remote = `${address.host}:${address.port}`;
  return (events) =>
    new Connection(createConnection({ host: address.host, port: address.port }), events, remote);
}
