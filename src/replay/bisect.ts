// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy replay --bisect`: where exactly a replay began to differ.
 *
 * A log has a digest every 100 M instructions, and the machine that recorded is
 * gone. So the reference is another replay, one that agrees with the digests of
 * the log; the suspect is the one that does not. Both run again, to positions in
 * between, and are compared there: at a thousand positions a round, closer each
 * time, down to one instruction. Then both are looked at in that one position.
 *
 * That needs a suspect that differs again when it runs again. What can be said
 * without that is said, and no more (`found`).
 *
 * The first run of the suspect is of the whole recording. The others begin at the newest
 * checkpoint before the last equal digest, all at the same one; at power-on when there is
 * none, when the suspect is another build (a checkpoint is read by the one that made it), or
 * when the suspect does not differ from there on: what went wrong is in no saved state then.
 */
import { join } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import {
  advance,
  comparePoints,
  comparePositions,
  distance,
  keyOf,
  POWER_ON,
  type Point,
  type Position,
  samePoint,
} from '../base/position.ts';
import { readManifest } from '../checkpoint/manifest.ts';
import { DivergenceError, guestAt, type QemuReport } from '../log/divergence.ts';
import { openRecording } from '../recording/folder.ts';
import type { QemuBinary } from '../vm/qemu-binary.ts';
import { type Answers, type DigestAnswer, type Probe, readAnswers, writeProbes } from './probes.ts';
import { replay } from './replayer.ts';
import { Scratch } from './scratch.ts';
import { type Differences, lookAt } from './state-diff.ts';

/** Digests a round: as many as cost about as much as the replay up to there. */
const PROBES_PER_ROUND = 1000;
/** How often a suspect that may differ only sometimes is given the chance. */
const ATTEMPTS = 3;

export interface BisectOptions {
  readonly dir: string;
  /** What recorded, and so what the reference is replayed by. */
  readonly reference: QemuBinary;
  /** Another build (`--against-qemu`), or the same. */
  readonly suspect: QemuBinary;
  /** The suspect does something wrong on purpose. */
  readonly fault: string | undefined;
  readonly logger: Logger;
  /** Tests make rounds of few. */
  readonly probesPerRound?: number;
  readonly onStep: (text: string) => void;
}

/** How a run ended other than by getting where it was to stop. */
export interface Noticed {
  readonly report: QemuReport | null;
  readonly message: string;
}

export interface Bisection {
  /**
   * none: the suspect agrees with the log to its end.
   * position: equal at `equal`, different at `different`, nothing in between.
   * interval: as close as could be got; `why` says what was in the way.
   * recording: every replay differs from the log, and in the same way.
   */
  readonly found: 'none' | 'position' | 'interval' | 'recording';
  readonly why: string | null;
  readonly equal: Position;
  readonly different: Position | null;
  readonly noticed: Noticed | null;
  readonly replays: number;
  /** Checkpoint that the replays began at, but for the first; null: power-on. */
  readonly startedAt: Point | null;
  /** The suspect and the reference in the first position that differs. */
  readonly differences: Differences | null;
}

interface Outcome {
  readonly answers: Answers;
  readonly noticed: Noticed | null;
  /** null: at power-on, or it did not get to where it was to stop. */
  readonly startedAt: Point | null;
}

export async function bisect(options: BisectOptions, aborted: AbortSignal): Promise<Bisection> {
  const scratch = Scratch.make('bisect');
  try {
    return await new Bisector(options, scratch.dir, aborted).run();
  } catch (error) {
    throw scratch.explain(error);
  } finally {
    scratch.end();
  }
}

class Bisector {
  readonly #o: BisectOptions;
  readonly #scratch: string;
  readonly #aborted: AbortSignal;
  /** Whether the suspect differs again whenever it runs again. */
  readonly #steady: boolean;
  #replays = 0;
  #noticed: Noticed | null = null;
  #equal: Position = POWER_ON;
  #different: Position | null = null;
  /** Where to look for a checkpoint from; null: the recording's begin. */
  #from: Point | null = null;
  #startedAt: Point | null = null;

  constructor(options: BisectOptions, scratch: string, aborted: AbortSignal) {
    this.#o = options;
    this.#scratch = scratch;
    this.#aborted = aborted;
    this.#steady = options.fault !== undefined || options.suspect !== options.reference;
  }

  async run(): Promise<Bisection> {
    const first = await this.#provoke();
    if (first === null) return this.#result('none', null);
    this.#noticed = first;
    const { report } = first;
    const end = report === null ? null : guestAt(report);
    if (end === null) return this.#result('interval', 'QEMU could not say where it was');
    const begin = beginOf(this.#o.dir);
    this.#equal = report?.lastEqualDigest ?? begin;
    this.#different = end;
    const isLater = comparePoints(this.#equal.point, begin.point) > 0;
    if (this.#o.suspect === this.#o.reference && isLater) {
      // Before it: one of the same point may be later, while the guest sleeps.
      this.#from = advance(this.#equal.point, -1n);
    }
    const stopped = await this.#narrow(end);
    if (stopped !== null) return stopped;
    this.#step('looking at both in the first position that differs');
    const differences = await lookAt(this.#different.point, (probes, which) =>
      this.#replay(which, probes, advance(end.point, 1n)).then(({ answers }) => answers),
    );
    const why = differences === null ? 'the suspect ends before it can be looked at' : null;
    return { ...this.#result('position', why), differences };
  }

  /** Runs the suspect until it diverges; null if it does not. */
  async #provoke(): Promise<Noticed | null> {
    const attempts = this.#steady ? 1 : ATTEMPTS;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      this.#step(`replaying the suspect (${attempt} of at most ${attempts})`);
      const { noticed } = await this.#replay('suspect', [], null);
      if (noticed !== null) return noticed;
    }
    return null;
  }

  /** @returns null when down to one position, else what there is to say */
  async #narrow(end: Position): Promise<Bisection | null> {
    for (let round = 1; ; round += 1) {
      const low = this.#equal.point;
      const high = this.#different?.point ?? end.point;
      const inside = between(low, high, this.#o.probesPerRound ?? PROBES_PER_ROUND);
      if (inside.length === 0 && round > 1) return null;
      // Low again: it may differ after the inputs of that position, or another time.
      const points = [low, ...inside];
      // The first round also shows whether the reference passes where the suspect does not.
      const pair = await this.#compare(points, end, round === 1);
      const { reference, suspect } = pair;
      const first = firstDifference(reference.answers.digests, suspect.answers.digests);
      const again = first !== null || suspect.noticed !== null;
      if (!again && this.#from !== null && (round === 1 || !this.#steady)) {
        this.#from = null;
        round -= 1;
        continue;
      }
      if (first === null && reference.noticed !== null) {
        const same = sameReport(reference.noticed, suspect.noticed);
        return this.#result(
          same ? 'recording' : 'interval',
          same
            ? 'every replay differs from the log there, and in the same way: what the recording ' +
                'side did between its two digests is not in the log'
            : 'the reference diverges from the log too, elsewhere',
        );
      }
      if (!again && (round === 1 || !this.#steady)) {
        const times = this.#steady ? 1 : ATTEMPTS;
        return this.#result(
          'interval',
          `it did not happen again in ${times} replay(s): this divergence comes and goes`,
        );
      }
      if (first === 0 && round > 1) {
        return this.#result('interval', 'the suspect differs elsewhere each time it runs');
      }
      const { digests } = reference.answers;
      const before = first === null ? digests.at(-1) : digests[first - 1];
      const after = first === null ? undefined : digests[first];
      if (before !== undefined) this.#equal = before.at;
      if (after !== undefined) this.#different = after.at;
      const now = this.#different?.point ?? high;
      const isStuck = samePoint(this.#equal.point, low) && samePoint(now, high);
      // Positions in which no digest can be made (an interrupt was just delivered).
      if (isStuck || distance(this.#equal.point, now) <= 1n) return null;
    }
  }

  /** One round: both, at these positions; the suspect again if it did not differ. */
  async #compare(
    points: readonly Point[],
    end: Position,
    wholly: boolean,
  ): Promise<{ reference: Outcome; suspect: Outcome }> {
    const probes: Probe[] = points.map((point) => ({ verb: 'digest', point }));
    const last = points.at(-1) ?? end.point;
    const afterEnd = advance(end.point, 1n);
    const until = wholly ? afterEnd : advance(last, 1n);
    const [from, to] = [this.#equal.point, this.#different?.point ?? end.point].map(keyOf);
    this.#step(`comparing ${points.length} positions from ${from} to ${to}`);
    const [reference, once] = await Promise.all([
      this.#replay('reference', probes, until),
      this.#replay('suspect', probes, this.#steady ? until : afterEnd),
    ]);
    this.#startedAt = reference.startedAt;
    let suspect = once;
    for (let attempt = 2; attempt <= ATTEMPTS && !this.#steady; attempt += 1) {
      if (suspect.noticed !== null) break;
      suspect = await this.#replay('suspect', probes, afterEnd);
    }
    return { reference, suspect };
  }

  async #replay(
    which: 'suspect' | 'reference',
    probes: readonly Probe[],
    until: Point | null,
  ): Promise<Outcome> {
    const { dir, logger } = this.#o;
    this.#replays += 1;
    const file = join(this.#scratch, `probes-${this.#replays}`);
    writeProbes(file, probes);
    let noticed: Noticed | null = null;
    let startedAt: Point | null = null;
    try {
      const result = await replay(
        {
          dir,
          qemu: this.#o[which],
          logger,
          verify: false,
          until,
          from: this.#from,
          onConsole: () => {},
          onProgress: () => {},
          fault: which === 'suspect' ? this.#o.fault : undefined,
          probes: file,
          // The caller has checked the recording against the reference.
          unchecked: true,
        },
        this.#aborted,
      );
      startedAt = result.startedAt;
    } catch (error) {
      this.#aborted.throwIfAborted();
      const known = error instanceof UnderstudyError && END_OF_A_RUN.has(error.code);
      if (!known) throw error;
      const report = error instanceof DivergenceError ? error.report : null;
      noticed = { report, message: error.message };
    }
    return { answers: await readAnswers(file), noticed, startedAt };
  }

  #step(text: string): void {
    this.#o.onStep(text);
  }

  #result(found: Bisection['found'], why: string | null): Bisection {
    return {
      found,
      why,
      equal: this.#equal,
      different: this.#different,
      noticed: this.#noticed,
      replays: this.#replays,
      startedAt: this.#startedAt,
      differences: null,
    };
  }
}

/** A suspect may also die or hang of what is wrong with it. */
const END_OF_A_RUN: ReadonlySet<string> = new Set([
  'divergence',
  'qemu-died',
  'qemu-failed',
  'qemu-hung',
]);

/** Power-on, or the checkpoint at which what was retained begins. */
function beginOf(dir: string): Position {
  const { retained, paths } = openRecording(dir);
  if (retained === null) return POWER_ON;
  const { point, vtimeNs } = readManifest(join(paths.checkpoints, keyOf(retained.from)));
  return { point, vtimeNs };
}

/** Points strictly between, evenly: every one if there are few. */
export function between(low: Point, high: Point, most: number): Point[] {
  const far = distance(low, high);
  const count = far - 1n < BigInt(most) ? far - 1n : BigInt(most);
  const points: Point[] = [];
  for (let n = 1n; n <= count; n += 1n) points.push(advance(low, (n * far) / (count + 1n)));
  return points;
}

/** Index of the first digest that differs; null: none does. */
function firstDifference(
  reference: readonly DigestAnswer[],
  suspect: readonly DigestAnswer[],
): number | null {
  const index = reference.findIndex((wanted, place) => {
    const got = suspect[place];
    return (
      got === undefined || got.value !== wanted.value || comparePositions(got.at, wanted.at) !== 0
    );
  });
  return index < 0 ? null : index;
}

function sameReport(a: Noticed, b: Noticed | null): boolean {
  const essence = (noticed: Noticed | null): string => {
    const report = noticed?.report;
    if (report == null) return '';
    const at = guestAt(report);
    const where = at === null ? '' : `${keyOf(at.point)} ${at.vtimeNs}`;
    return `${report.reason} ${where} ${JSON.stringify(report.parts)}`;
  };
  return essence(a) !== '' && essence(a) === essence(b);
}
