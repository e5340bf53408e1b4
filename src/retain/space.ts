// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps what a recording takes below a number of bytes at every moment: log and
 * checkpoints, with the one that is being written.
 *
 * Nothing can be deleted before the next full checkpoint is whole, and that one takes
 * room of its own while the log goes on. So room for it is always kept, a generation ends
 * early (a full checkpoint is asked for) while there still is some, and the oldest go as
 * soon as it becomes scarce. A log can grow faster than any disk takes a checkpoint: then
 * the guest is slowed, as by a bound of its lag (space-pace.ts).
 */
import { formatBytes } from '../base/format.ts';
import { keyOf, type Point } from '../base/position.ts';
import type { Generation } from './limits.ts';

/**
 * One generation, in bytes. `bytes`: of all that goes with it. The first one may be what
 * begins at power-on: without a checkpoint.
 */
export interface SizedGeneration extends Generation {
  /** Where its full checkpoint stands; null: it has none. */
  readonly full: Point | null;
  readonly fullBytes: number;
  /** Bytes of memory (and of disks) in all its checkpoints together. */
  readonly ramBytes: number;
  readonly diskBytes: number;
  /** Its incremental ones, oldest first. */
  readonly incremental: readonly number[];
}

export interface SpaceView {
  /** Oldest first. */
  readonly generations: readonly SizedGeneration[];
  /** Bytes so far of the checkpoint that is being written. */
  readonly partialBytes: number;
  /** Bytes of what belongs to no generation. */
  readonly looseBytes: number;
  /** Checkpoints that were given up since the VM started. */
  readonly failures: number;
  /** A full one was asked for and is not begun: what is being written is another one. */
  readonly isFullDue: boolean;
}

export interface SpaceLimits {
  readonly bytes: number;
  /** What a full checkpoint can have at most: memory, and all clusters of the disks. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** Incremental ones after which QEMU makes a full one by itself. */
  readonly chainMax: number;
  /** Time from one checkpoint to the next; 0: not known. */
  readonly everyMs: number;
}

export interface SpaceDecision {
  /** Number of the oldest generations that go. */
  readonly gone: number;
  /** A full checkpoint is to be made now. */
  readonly full: boolean;
  /** Number of the newest generation's newest incremental checkpoints that go. */
  readonly dropped: number;
  /** Bytes that may still come, without what is kept for a full one once the oldest is gone. */
  readonly room: number;
  /** Less room than that: the guest is slowed. */
  readonly comfort: number;
  /** Two full checkpoints do not fit: the limit that would do. Null: they do. */
  readonly needed: number | null;
}

/** CPUs and devices, firmware and video memory, and what file systems round up. */
const STATE_BYTES = 4e6;
/** Room below which a guest is slowed: a part of the limit, less where checkpoints are large. */
const COMFORT_MAX = 1 / 12;
const COMFORT_MIN = 1 / 32;
/** A generation's log and incremental ones; at least as much as its full one. */
const GENERATION = 1 / 8;
/** Share of the limit for what a guest slowed to the utmost logs, and what nobody counts. */
const MARGIN = 1 / 25;
/** Share of the limit by which a full checkpoint may exceed what is known of it. */
const GROWTH = 1 / 10;
/** Share of the limit for memory that the guest has not written so far. */
const MEMORY_MAX = 1 / 3;
/** Share of the limit that two full checkpoints take at most. */
const FULLS_MAX = 7 / 8;
/** Failures in a row after which nothing can be bounded, so nothing is slowed for it. */
const FAILURES_MAX = 3;
/** After the n-th of them it is n times as long until the next one is asked for. */
const RETRY_MS = 2000;
const RETRY_MS_MAX = 60_000;

/** The least limit for full checkpoints of so many bytes. */
export function limitFor(fullBytes: number): number {
  return (2 * fullBytes) / FULLS_MAX;
}

/** Bytes that a VM's first full checkpoint may have: its memory; little of its disks is written. */
function firstFullBytes(memoryBytes: number): number {
  return memoryBytes + STATE_BYTES;
}

/** Why a limit may turn out too small, before the VM starts; null: it need not. */
export function spaceWarning(limitBytes: number | null, memoryBytes: number): string | null {
  const needed = limitFor(firstFullBytes(memoryBytes));
  if (limitBytes === null || limitBytes >= needed) return null;
  return (
    `a full checkpoint of this VM has up to ${formatBytes(memoryBytes)}, its memory, and two of ` +
    `them must have room in what --retain allows: with ${formatBytes(limitBytes)} it may take ` +
    `more. Give it ${formatBytes(needed)}, or the VM less memory`
  );
}

export class SpacePolicy {
  readonly #limits: SpaceLimits;
  /** Bytes that the full checkpoint after the newest generation may have. They only grow. */
  #estimate = { of: '', bytes: 0 };
  /** The generation that was the newest when a full one was asked for, and when. */
  #asked: { of: string; failures: number; atMs: number } | null = null;
  /** The last one that was not full, in bytes: what is expected of the next. */
  #incremental = 0;
  /** Failures before the newest generation came. */
  #failuresBefore = { of: '', failures: 0 };

  constructor(limits: SpaceLimits) {
    this.#limits = limits;
  }

  /**
   * @param gone generations that go for another reason
   * @param stuck the oldest cannot go: the next full checkpoint is damaged
   */
  decide(view: SpaceView, gone: number, nowMs: number, stuck = false): SpaceDecision {
    const { partialBytes, looseBytes, failures } = view;
    let generations = view.generations.slice(gone);
    const last = generations.at(-1);
    const newest = last === undefined || last.checkpoints === 0 ? null : last;
    const of = nameOf(newest);
    if (this.#failuresBefore.of !== of) this.#failuresBefore = { of, failures };
    const failed = failures - this.#failuresBefore.failures;

    const next = this.#nextFull(newest);
    const allowed = Math.max(this.#limits.bytes, limitFor(newest?.fullBytes ?? next));
    const limit = allowed * (1 - MARGIN);
    const comfort = Math.max(
      limit * COMFORT_MIN,
      Math.min(limit * COMFORT_MAX, (limit - 2 * next) / 5),
    );
    const isAsked = this.#asked?.of === of && this.#asked.failures === failures;
    const isNextFull =
      isAsked || failed > 0 || newest === null || newest.checkpoints > this.#limits.chainMax;
    const isFull = isNextFull && !view.isFullDue;
    const reserve = isFull ? Math.max(0, next - partialBytes) : next;
    const sum = (): number => generations.reduce((total, { bytes }) => total + bytes, looseBytes);
    const roomOf = (used: number): number => limit - used - partialBytes - reserve;

    const used = view.generations.reduce((total, { bytes }) => total + bytes, looseBytes);
    while (generations.length > 1 && roomOf(sum()) < comfort * 1.5) {
      generations = generations.slice(1);
    }
    const left = roomOf(sum());
    const alone = roomOf(looseBytes + (last?.bytes ?? 0));
    const logBytes = (last?.bytes ?? 0) + looseBytes;
    const full = this.#isDue(newest, { logBytes, alone, comfort, next, limit, nowMs });
    const pauseMs = Math.min(RETRY_MS_MAX, RETRY_MS * failed);
    // What goes first has gone.
    const fits = roomOf(used) >= 0 || view.generations.length <= 1 || stuck;
    const isSoon = nowMs - (this.#asked?.atMs ?? nowMs - pauseMs) < pauseMs;
    const isWriting = isFull && partialBytes > 0;
    const mayAsk = fits && !isAsked && !isSoon && !isWriting;
    if (full && mayAsk) this.#asked = { of, failures, atMs: nowMs };
    const dropped = isNextFull && generations.length === 1 ? droppedOf(newest, left) : 0;
    return {
      gone: view.generations.length - generations.length,
      full: full && mayAsk,
      dropped,
      // Until the oldest is gone no full one is begun: what is kept for it may be used.
      room:
        failed >= FAILURES_MAX || stuck
          ? Number.POSITIVE_INFINITY
          : Math.min(left, limit - used - partialBytes),
      comfort,
      needed: newest !== null && allowed > this.#limits.bytes ? allowed : null,
    };
  }

  /**
   * All that the chain has, and what may have come since. A guest fills its memory within
   * a second, so that room is kept for all of it unless that is a large part of the limit.
   */
  #nextFull(newest: SizedGeneration | null): number {
    const { bytes: limit, memoryBytes, diskBytes } = this.#limits;
    const growth = limit * GROWTH;
    if (newest === null) return firstFullBytes(memoryBytes) + Math.min(diskBytes, growth);
    const more = Math.max(growth, ...newest.incremental);
    const ram = Math.min(memoryBytes, Math.max(limit * MEMORY_MAX, newest.ramBytes + more));
    const bytes = ram + Math.min(diskBytes, newest.diskBytes + growth) + STATE_BYTES;
    const of = nameOf(newest);
    const before = this.#estimate.of === of ? this.#estimate.bytes : 0;
    this.#estimate = { of, bytes: Math.max(before, bytes) };
    return this.#estimate.bytes;
  }

  #isDue(
    newest: SizedGeneration | null,
    at: {
      logBytes: number;
      alone: number;
      comfort: number;
      next: number;
      limit: number;
      nowMs: number;
    },
  ): boolean {
    const { logBytes, alone, comfort, next, limit, nowMs } = at;
    if (newest === null) return logBytes > limit * GENERATION;
    const { bytes, fullBytes, incremental, createdMs } = newest;
    this.#incremental = incremental.at(-1) ?? this.#incremental;
    // Where the next incremental one is too large, a full one is made instead: when it is due.
    const isLater = incremental.length > 0 || nowMs - createdMs >= this.#limits.everyMs / 2;
    return (
      alone < 2 * comfort + (isLater ? this.#incremental : 0) ||
      bytes - fullBytes >= Math.max(next, limit * GENERATION)
    );
  }
}

/** A replay can do without them, and the full one that comes needs the room. */
function droppedOf(newest: SizedGeneration | null, room: number): number {
  let left = room;
  let dropped = 0;
  for (const bytes of [...(newest?.incremental ?? [])].reverse()) {
    if (left >= 0) break;
    left += bytes;
    dropped += 1;
  }
  return dropped;
}

/** Tells generations apart; '': without a full checkpoint. */
function nameOf(generation: SizedGeneration | null): string {
  return generation?.full == null ? '' : keyOf(generation.full);
}
