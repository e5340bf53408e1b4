// SPDX-License-Identifier: Apache-2.0
/**
 * `record --retain`, step by step: looks at what there is, asks for a full checkpoint,
 * has the oldest deleted, slows the guest. It knows files and VM only through the two
 * interfaces, so that test/simulation/ lets it keep a day of recording in seconds.
 */
import { formatBytes } from '../base/format.ts';
import type { Point } from '../base/position.ts';
import type { Holds } from '../vm/holds.ts';
import { condemned, type RetainLimits } from './limits.ts';
import { type SpaceLimits, SpacePolicy, type SpaceView } from './space.ts';
import { SpacePace } from './space-pace.ts';

export type KeptView = Omit<SpaceView, 'failures' | 'isFullDue'>;

/** What is kept, as it is now. */
export interface Kept {
  view(): Promise<KeptView>;
  /**
   * Deletes that many of the oldest generations of the last view, after the one that
   * follows has been read back whole. @returns why not, or null
   */
  forgetOldest(count: number): Promise<string | null>;
  /** Deletes that many of the newest incremental checkpoints. */
  forgetNewest(count: number): Promise<void>;
}

/** The VM that is recorded. */
export interface RecordedVm {
  facts(): {
    readonly point: Point;
    /** Bytes of the log written since the VM started. */
    readonly logBytes: number;
    readonly checkpoints: number;
    readonly failures: number;
    /** One was asked for, and is not begun. */
    readonly isFullDue: boolean;
  };
  /** The next checkpoint is due now, and full. */
  requestFull(): void;
  readonly holds: Holds;
}

export interface KeeperOptions {
  readonly limits: RetainLimits;
  /** Null: no limit by size, or no VM that could be asked. */
  readonly space: SpaceLimits | null;
  readonly kept: Kept;
  readonly vm: RecordedVm | null;
  /** Told, once, what keeps it from deleting or from the limit. */
  readonly onWarning: (text: string) => void;
}

const NO_VM = { logBytes: 0, checkpoints: -1, failures: 0, isFullDue: false };
const LOOK_MS = 1000;
/** While room is scarce, or a full checkpoint is being written. */
const LOOK_MS_MIN = 200;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #policy: SpacePolicy | null;
  readonly #pace = new SpacePace();
  readonly #told = new Set<string>();
  #looking: Promise<void> | null = null;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #checkpoints = -1;
  #scarce = false;
  #needed = 0;
  /** Why the oldest did not go the last time, or null. */
  #refused: string | null = null;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#policy = options.space === null ? null : new SpacePolicy(options.space);
  }

  /**
   * Every 100 ms or so, where there is a limit by size; else every second.
   * @param nowMs on a clock that is never set
   */
  tick(nowMs: number, wallMs = nowMs): void {
    const facts = this.#options.vm?.facts();
    if (facts !== undefined && this.#policy !== null) {
      const bound = this.#pace.bound({ nowMs, ...facts });
      if (bound === null) this.#options.vm?.holds.release('space');
      else this.#options.vm?.holds.hold('space', bound);
    }
    const sinceMs = nowMs - this.#lookedAtMs;
    const isNews = facts !== undefined && facts.checkpoints !== this.#checkpoints;
    if (sinceMs < LOOK_MS && !isNews && !(this.#scarce && sinceMs >= LOOK_MS_MIN)) return;
    if (this.#looking === null) this.#lookedAtMs = nowMs;
    this.look(wallMs);
  }

  look(wallMs: number): void {
    if (this.#looking !== null) return;
    this.#looking = this.#look(wallMs)
      .catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        this.#warn(`nothing old is deleted: ${why}`);
      })
      .finally(() => {
        this.#looking = null;
      });
  }

  /** Until a look that has begun is over. */
  async settled(): Promise<void> {
    await this.#looking;
  }

  #warn(text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.#options.onWarning(text);
  }

  async #look(wallMs: number): Promise<void> {
    const { limits, kept, vm } = this.#options;
    // Before the files: what comes in between is counted twice, not overlooked.
    const { logBytes, checkpoints, failures, isFullDue } = vm?.facts() ?? NO_VM;
    const view = { ...(await kept.view()), failures, isFullDue };
    this.#checkpoints = checkpoints;
    let gone = condemned(view.generations, limits, wallMs);
    if (this.#policy !== null) {
      const decision = this.#policy.decide(view, gone, wallMs, this.#refused !== null);
      gone = decision.gone;
      if (decision.full) vm?.requestFull();
      // Deleting takes a while, in which the log grows: by what is there before it.
      this.#pace.set(decision.room, decision.comfort, logBytes);
      this.#scarce = decision.full || decision.room < 3 * decision.comfort;
      this.#tell(decision.needed, decision.dropped);
      if (decision.dropped > 0) await kept.forgetNewest(decision.dropped);
    }
    this.#refused = gone === 0 ? null : await this.#forget(gone, view.generations.length);
    // There is more room: the guest may know.
    if (gone > 0 && this.#refused === null) this.#lookedAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Where a replay could not start at what follows these, more of them. @returns why none go */
  async #forget(gone: number, generations: number): Promise<string | null> {
    let why: string | null = null;
    for (let count = gone; count < generations; count += 1) {
      why = await this.#options.kept.forgetOldest(count);
      if (why === null) return null;
      this.#warn(why);
    }
    return why;
  }

  #tell(needed: number | null, dropped: number): void {
    if (dropped > 0) {
      this.#warn('checkpoints are deleted early, to make room for a full one');
    }
    if (needed === null || needed <= this.#needed * 1.2) return;
    this.#needed = needed;
    this.#warn(
      'two full checkpoints of this VM do not fit into the size given to --retain, and the ' +
        `next one has to be whole before the last one goes: about ${formatBytes(needed)} are ` +
        'used instead; give more, or a VM with less memory and smaller disks',
    );
  }
}
