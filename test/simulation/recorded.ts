// SPDX-License-Identifier: Apache-2.0
/**
 * A recorder and its folder as numbers, on a clock that takes a day in seconds: a guest
 * that logs and writes at random rates, QEMU's checkpoints as qemu/exitlog/cut/checkpoint.c
 * makes them, and a disk. What keeps it is the real src/retain/keeper.ts.
 */

import { atIcount, icountOf } from '../../src/base/position.ts';
import type { Kept, KeptView, RecordedVm } from '../../src/retain/keeper.ts';
import type { SizedGeneration } from '../../src/retain/space.ts';
import { Holds } from '../../src/vm/holds.ts';
import type { Random } from './random.ts';

export interface Machine {
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly everyMs: number;
  readonly chainMax: number;
  readonly segmentBytes: number;
  /** The most that the guest does, in a second. */
  readonly worst: Rates;
  /** The least that the host's disk takes of checkpoints, in a second. */
  readonly writeBytes: number;
}

export interface Rates {
  readonly logBytes: number;
  readonly ramBytes: number;
  readonly diskBytes: number;
}

/** What the guest does for a while, at full speed. */
interface Load extends Rates {
  readonly untilMs: number;
  /** Bytes of memory and disk that it writes to at most. */
  readonly workingSet: number;
  /** Bytes of checkpoints that the host's disk takes in that time. */
  readonly writeBytes: number;
}

interface Made {
  readonly icount: bigint;
  readonly parent: bigint | null;
  readonly ram: number;
  readonly disk: number;
  readonly createdMs: number;
  /** Bytes of the log when its record was put in. */
  readonly logAt: number;
}

const MIPS = 300e6;
const STATE_BYTES = 300e3;
/** Nothing is begun after a full one for so long. */
const REST_MS = 2000;
/** All memory is looked through, in a full one. */
const COPY_BYTES_PER_MS = 1e6;
const READ_BYTES_PER_MS = 300e3;

const POWER_ON: SizedGeneration = {
  full: null,
  createdMs: 0,
  checkpoints: 0,
  bytes: 0,
  fullBytes: 0,
  ramBytes: 0,
  diskBytes: 0,
  incremental: [],
};

export class Recorded implements Kept, RecordedVm {
  nowMs = 0;
  icount = 0n;
  logBytes = 0;
  checkpoints = 0;
  failures = 0;
  /** ms for which the guest stood still, in all. */
  heldMs = 0;
  readonly holds = new Holds((bound) => {
    this.#icountMax = bound === null ? null : icountOf(bound);
  });
  readonly #machine: Machine;
  readonly #random: Random;
  #load: Load;
  #icountMax: bigint | null = null;
  #fullWanted = false;
  /** Never zero again; ever written. */
  #ram = 30e6;
  #disk = 0;
  #dirtyRam = 30e6;
  #dirtyDisk = 0;
  #made: Made[] = [];
  /** The log begins there, at a segment's border. */
  #logFrom = 0;
  #retained = false;
  #step: 'waiting' | 'copying' | 'due' | 'writing' = 'waiting';
  #begunMs = 0;
  #restMs = 0;
  #untilMs = 0;
  #chain = 0;
  #nextFull = true;
  #cut: Made | null = null;
  #written = 0;
  #sleeping: { readonly untilMs: number; readonly wake: () => void }[] = [];

  constructor(machine: Machine, random: Random) {
    this.#machine = machine;
    this.#random = random;
    this.#load = this.#someLoad();
  }

  get usedBytes(): number {
    return (
      this.#made.reduce((sum, { ram, disk }) => sum + ram + disk + STATE_BYTES, 0) +
      this.logBytes -
      this.#logFrom +
      this.#written
    );
  }

  /** For who looks at a failure. */
  get line(): string {
    const ahead = this.#icountMax === null ? 'free' : String(this.#icountMax - this.icount);
    const mb = (bytes: number): string => (bytes / 1e6).toFixed(0);
    return (
      `${(this.nowMs / 1000).toFixed(1)} s: ${mb(this.usedBytes)} MB, log ${mb(this.logBytes)}, ` +
      `${this.#made.length} checkpoints, ${this.fulls.length} full, ${this.#step}` +
      `${this.#nextFull ? ' full' : ''} ${mb(this.#written)} MB, ${this.failures} failed, ` +
      `wanted ${this.#fullWanted}, ${ahead}`
    );
  }

  get load(): object {
    return this.#load;
  }

  /** Nothing changes for a second but slowly. */
  get isQuiet(): boolean {
    const { logBytes, untilMs } = this.#load;
    const isSlow = logBytes < 1e6 && this.nowMs + 1000 <= untilMs;
    const isIdle = this.#step === 'waiting' && this.#sleeping.length === 0;
    return isSlow && isIdle && this.#icountMax === null;
  }

  get fulls(): readonly Made[] {
    return this.#made.filter(({ parent }) => parent === null);
  }

  get kept(): readonly Made[] {
    return this.#made;
  }

  /** Why no replay can start, or null. */
  broken(): string | null {
    const first = this.#made[0];
    if (first === undefined) return this.checkpoints === 0 ? null : 'no checkpoint is left';
    if (first.parent !== null) return 'the oldest checkpoint adds to one that is gone';
    if (first.logAt < this.#logFrom) return 'the log of the oldest checkpoint is gone';
    return null;
  }

  advance(ms: number): void {
    this.nowMs += ms;
    if (this.nowMs >= this.#load.untilMs) this.#load = this.#someLoad();
    this.#run(ms);
    this.#checkpoint(ms);
    const due = this.#sleeping.filter(({ untilMs }) => untilMs <= this.nowMs);
    this.#sleeping = this.#sleeping.filter(({ untilMs }) => untilMs > this.nowMs);
    for (const { wake } of due) wake();
  }

  facts() {
    const { logBytes, checkpoints, failures } = this;
    const point = atIcount(this.icount);
    return { point, logBytes, checkpoints, failures, isFullDue: this.#fullWanted };
  }

  requestFull(): void {
    this.#fullWanted = true;
  }

  view(): Promise<KeptView> {
    const generations: SizedGeneration[] = [];
    const fulls = this.fulls;
    const first = fulls[0];
    if (!this.#retained) {
      const bytes = first === undefined ? this.logBytes : this.#segmentOf(first.logAt);
      generations.push({ ...POWER_ON, bytes });
    }
    for (const [at, full] of fulls.entries()) {
      const next = fulls[at + 1];
      const of = this.#made.filter(
        ({ icount }) => icount >= full.icount && (next === undefined || icount < next.icount),
      );
      const from = this.#segmentOf(full.logAt);
      const to = next === undefined ? this.logBytes : this.#segmentOf(next.logAt);
      const sized = of.map(({ ram, disk }) => ram + disk + STATE_BYTES);
      generations.push({
        full: atIcount(full.icount),
        createdMs: full.createdMs,
        checkpoints: of.length,
        bytes: sized.reduce((sum, bytes) => sum + bytes, to - from),
        fullBytes: sized[0] ?? 0,
        ramBytes: of.reduce((sum, { ram }) => sum + ram, 0),
        diskBytes: of.reduce((sum, { disk }) => sum + disk, 0),
        incremental: sized.slice(1),
      });
    }
    return Promise.resolve({ generations, partialBytes: this.#written, looseBytes: 0 });
  }

  async forgetOldest(count: number): Promise<string | null> {
    const first = this.fulls[count - (this.#retained ? 0 : 1)];
    if (first === undefined) return null;
    await this.#sleep(20 + (first.ram + first.disk) / READ_BYTES_PER_MS);
    this.#made = this.#made.filter(({ icount }) => icount >= first.icount);
    this.#logFrom = this.#segmentOf(first.logAt);
    this.#retained = true;
    return null;
  }

  forgetNewest(count: number): Promise<void> {
    const last = this.fulls.at(-1)?.icount ?? 0n;
    const gone = this.#made.filter(({ icount }) => icount > last).slice(-count);
    this.#made = this.#made.filter((one) => !gone.includes(one));
    return Promise.resolve();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleeping.push({ untilMs: this.nowMs + ms, wake }));
  }

  #segmentOf(at: number): number {
    return at - (at % this.#machine.segmentBytes);
  }

  #someLoad(): Load {
    const random = this.#random;
    // From idle to the worst by powers: each has its share of time.
    const upTo = (most: number): number =>
      random.chance(0.2) ? 0 : most * 10 ** (-5 * random.next());
    const { worst, writeBytes } = this.#machine;
    const untilMs = this.nowMs + 1000 * 10 ** (3 * random.next());
    if (random.chance(0.05)) return { ...worst, untilMs, workingSet: 1, writeBytes };
    return {
      untilMs,
      logBytes: upTo(worst.logBytes),
      ramBytes: upTo(worst.ramBytes),
      diskBytes: upTo(worst.diskBytes),
      workingSet: random.next(),
      writeBytes: writeBytes * 10 ** random.next(),
    };
  }

  #run(ms: number): void {
    const max = this.#icountMax ?? this.icount + BigInt(MIPS * ms);
    const wanted = (MIPS * ms) / 1000;
    const got = Math.max(0, Math.min(wanted, Number(max - this.icount)));
    const s = got / MIPS;
    this.heldMs += (1 - got / wanted) * ms;
    this.icount += BigInt(Math.floor(got));
    this.logBytes += Math.round(this.#load.logBytes * s);
    const { memoryBytes, diskBytes } = this.#machine;
    const set = this.#load.workingSet;
    const ram = this.#load.ramBytes * s;
    const disk = this.#load.diskBytes * s;
    this.#dirtyRam = Math.min(Math.max(this.#dirtyRam, set * memoryBytes), this.#dirtyRam + ram);
    const more = Math.min(this.#ram + ram, set * memoryBytes);
    this.#ram = Math.min(memoryBytes, Math.max(this.#ram, this.#dirtyRam, more));
    this.#dirtyDisk = Math.min(Math.max(this.#dirtyDisk, set * diskBytes), this.#dirtyDisk + disk);
    this.#disk = Math.min(diskBytes, Math.max(this.#disk, this.#dirtyDisk));
  }

  #checkpoint(ms: number): void {
    const random = this.#random;
    if (this.#step === 'waiting') {
      const isDue = this.#fullWanted || this.nowMs - this.#begunMs >= this.#machine.everyMs;
      if (!isDue || this.nowMs < this.#restMs) return;
      this.#begunMs = this.nowMs;
      this.#nextFull ||= this.#chain >= this.#machine.chainMax || this.#fullWanted;
      this.#step = 'copying';
      const bytes = this.#nextFull ? this.#machine.memoryBytes : this.#dirtyRam;
      this.#untilMs = this.nowMs + bytes / COPY_BYTES_PER_MS;
    } else if (this.#step === 'copying' && this.nowMs >= this.#untilMs) {
      this.#step = 'due';
      this.#untilMs = this.nowMs + (random.chance(0.9) ? 30 * random.next() : 5000 * random.next());
    } else if (this.#step === 'due' && this.nowMs >= this.#untilMs) {
      if (random.chance(0.01)) this.#givenUp();
      else this.#cutNow();
    } else if (this.#step === 'writing') {
      const { ram, disk } = this.#cut as Made;
      const bytes = ram + disk + STATE_BYTES;
      this.#written = Math.min(bytes, this.#written + (this.#load.writeBytes * ms) / 1000);
      if (this.#written < bytes) return;
      // Synced: at times the disk has other work.
      this.#untilMs ||= this.nowMs + (random.chance(0.8) ? 50 : 3000) * random.next();
      if (this.nowMs < this.#untilMs) return;
      if (random.chance(0.005)) this.#givenUp();
      else this.#commit();
    }
  }

  #givenUp(): void {
    this.failures += 1;
    this.#written = 0;
    this.#nextFull = true;
    this.#step = 'waiting';
  }

  #cutNow(): void {
    const full = this.#nextFull;
    if (full) this.#fullWanted = false;
    const parent = full ? null : (this.#made.at(-1)?.icount ?? null);
    this.#cut = {
      icount: this.icount + 1n,
      parent,
      ram: full ? this.#ram : this.#dirtyRam,
      disk: full ? this.#disk : this.#dirtyDisk,
      createdMs: this.nowMs,
      logAt: this.logBytes,
    };
    this.icount += 1n;
    this.#dirtyRam = 0;
    this.#dirtyDisk = 0;
    this.#chain = full ? 0 : this.#chain + 1;
    this.#untilMs = 0;
    this.#step = 'writing';
  }

  #commit(): void {
    const made = this.#cut as Made;
    this.#written = 0;
    if (this.#nextFull) this.#restMs = this.nowMs + Math.min(REST_MS, this.nowMs - this.#begunMs);
    this.#nextFull = false;
    this.#step = 'waiting';
    this.checkpoints += 1;
    // What it adds to has been deleted: it is deleted when it is seen.
    const isOrphan = made.parent !== null && made.parent !== this.#made.at(-1)?.icount;
    if (!isOrphan) this.#made.push(made);
  }
}
