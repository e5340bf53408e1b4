// SPDX-License-Identifier: Apache-2.0
/**
 * One workload on all systems, once: the runs of a round that are compared. When they are
 * over it is known what each is worth: whether its baseline counts, whether what it
 * recorded replays.
 */
import type { Run } from '../results.ts';
import type { System } from '../systems/system.ts';

/** @param run of a verified system. @param replayed the run that replayed it, if any did */
export function judge(
  system: System,
  run: Run,
  cell: readonly Run[],
  systems: readonly System[],
): Run {
  if (!system.verified) return run;
  const baseline = cell.some(
    (one) => one.system === system.baseline && one.invalid === null && one !== run,
  );
  const replayer = systems.find(({ replays }) => replays === system.name);
  const replayed = cell.find((one) => one.system === replayer?.name);
  const verification = {
    baseline,
    replay: run.verification?.replay ?? outcome(replayed),
    disks: run.verification?.disks ?? null,
    ...(run.verification?.image === undefined ? {} : { image: run.verification.image }),
  };
  return { ...run, verification, invalid: run.invalid ?? fault(system, verification, replayed) };
}

/** Whether the replay of a recording was valid; null if there was none. */
function outcome(replayed: Run | undefined): boolean | null {
  return replayed === undefined ? null : replayed.invalid === null;
}

function fault(
  system: System,
  { baseline, replay, image, disks }: NonNullable<Run['verification']>,
  replayed: Run | undefined,
): string | null {
  if (replay === null && image === undefined) {
    return 'it was not replayed: nothing says that it was exact';
  }
  if (image === false) return "nothing says that the backup's image was the primary's memory";
  if (replay === false) return `its recording does not replay: ${replayed?.invalid ?? 'see above'}`;
  if (disks === false) return "the two sides' disks differ";
  if (!baseline) return `its baseline (${system.baseline}) does not count in this round`;
  return null;
}
