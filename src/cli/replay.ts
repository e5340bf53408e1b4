// SPDX-License-Identifier: Apache-2.0
/** `understudy replay DIR [--from ICOUNT] [--until ICOUNT] [--verify]` */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { UnderstudyError } from '../base/errors.ts';
import { formatCount, formatDuration } from '../base/format.ts';
import { createLogger } from '../base/logger.ts';
import { comparePoints, formatPoint, type Point, sincePowerOn } from '../base/position.ts';
import { positionFields } from '../base/position-json.ts';
import { refuseByEpochs } from '../recording/by-epochs.ts';
import { openRecording, recordingPaths, refuseRetained } from '../recording/folder.ts';
import { holdRecording } from '../recording/lock.ts';
import { type ReplayResult, replay } from '../replay/replayer.ts';
import { faultFromEnv } from '../vm/qemu-args.ts';
import { findQemu } from '../vm/qemu-binary.ts';
import { parsePointOption } from './arguments.ts';
import { bisectAndReport } from './bisect-report.ts';
import { printFacts, printJson, say } from './output.ts';
import { Progress } from './progress.ts';
import { onSignals } from './signals.ts';

interface ReplayFlags {
  readonly verify?: true;
  readonly from?: Point;
  readonly until?: Point;
  readonly console?: true;
  readonly bisect?: true;
  readonly againstQemu?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('replay')
    .description('run a recording again, exactly, and say whether it was exact')
    .argument('<DIR>', 'a folder that `understudy record` made; it is not changed')
    .option('--verify', 'also compare the console and the disks with those recorded')
    .option(
      '--from <ICOUNT>',
      'start at the newest checkpoint at or before so many instructions, not at power-on',
      parsePointOption,
    )
    .option(
      '--until <ICOUNT>',
      'stop after so many instructions; without --verify and --console start at the newest ' +
        'checkpoint before',
      parsePointOption,
    )
    .option('--console', 'show what the guest prints')
    .option('--bisect', 'find the first position at which a replay differs, and show both there')
    .option('--against-qemu <PATH>', 'with --bisect: replay with this QEMU, compare with the other')
    .option('--json', 'one JSON object on stdout at the end, and nothing else')
    .addHelpText('after', '\nExit code 10: it diverged. 11: the recording is damaged or foreign.')
    .action(run);
}

async function run(dir: string, flags: ReplayFlags): Promise<void> {
  if (flags.bisect === true && flags.from !== undefined) {
    throw new UnderstudyError('usage', '--bisect looks at a whole recording: without --from');
  }
  if (flags.againstQemu !== undefined && flags.bisect !== true) {
    throw new UnderstudyError('usage', '--against-qemu is only for --bisect');
  }
  const { from, until } = flags;
  if (from !== undefined && until !== undefined && comparePoints(until, from) < 0) {
    throw new UnderstudyError('usage', '--until lies before --from');
  }
  await refuseByEpochs(dir, 'a replay');
  const hold = holdRecording(recordingPaths(dir));
  try {
    // Another build does not read the checkpoint at which such a recording begins.
    if (flags.againstQemu !== undefined) refuseRetained(openRecording(dir), '--against-qemu');
    await (flags.bisect === true ? bisectAndReport(dir, flags) : replayAndReport(dir, flags));
  } finally {
    hold.release();
  }
}

async function replayAndReport(dir: string, flags: ReplayFlags): Promise<void> {
  const recording = openRecording(dir);
  const qemu = await findQemu();
  const abort = new AbortController();
  const signals = onSignals(() =>
    abort.abort(new UnderstudyError('interrupted', 'the replay was interrupted')),
  );
  const progress = new Progress('replay', recording.end?.point ?? null, flags.json !== true);
  try {
    const result = await replay(
      {
        dir,
        qemu,
        logger: createLogger({ name: 'replay' }),
        verify: flags.verify === true,
        until: flags.until ?? null,
        from: startWanted(flags),
        onWarning: (text) => say(`warning: ${text}`),
        fault: faultFromEnv(),
        onConsole: (bytes) => {
          if (flags.console === true && flags.json !== true) process.stdout.write(bytes);
        },
        onProgress: ({ point }) => progress.at(point),
      },
      abort.signal,
    );
    progress.close();
    report(result, flags);
  } finally {
    progress.close();
    signals.close();
  }
}

/**
 * Who only wants to get to a position does not ask what comes before; who verifies, or reads
 * the console, means all of it. Null: power-on.
 */
function startWanted({ from, until, verify, console }: ReplayFlags): Point | null {
  if (from !== undefined) return from;
  const wantsAll = verify === true || console === true;
  return until === undefined || wantsAll ? null : until;
}

function report(result: ReplayResult, flags: ReplayFlags): void {
  const verified = flags.verify === true ? isVerified(result) : null;
  if (flags.json === true) {
    printJson({
      ...positionFields(result.position),
      wall_s: Number(result.wallS.toFixed(3)),
      digest: result.digest,
      started_at: result.startedAt === null ? null : sincePowerOn(result.startedAt),
      stopped_at: result.stoppedAt,
      records: result.records,
      log_bytes: result.logBytes,
      ...(verified === null
        ? {}
        : {
            verified,
            disks_identical: result.disksIdentical,
            console_identical: result.consoleIdentical,
          }),
    });
  } else {
    printFacts(facts(result, verified));
  }
  if (verified === false) throw complaint(result);
}

/** Up to --until QEMU has compared every output; only the END has a digest and disks. */
function isVerified(result: ReplayResult): boolean {
  if (result.stoppedAt === 'until') return true;
  return (
    result.stoppedAt === 'end' &&
    result.digest !== null &&
    result.disksIdentical === true &&
    result.consoleIdentical === true
  );
}

function complaint(result: ReplayResult): UnderstudyError {
  if (result.stoppedAt === 'horizon') {
    return new UnderstudyError(
      'log-truncated',
      'not verified: the recorder was killed, so that the log has no END with a digest; ' +
        'every output up to there was the same',
    );
  }
  const different = [
    result.consoleIdentical === true ? null : 'console.log',
    result.disksIdentical === true ? null : 'the disks at the end',
  ].filter((what) => what !== null);
  return new UnderstudyError(
    'divergence',
    `the replay was exact by its digest, but differs in: ${different.join(', ')}`,
  );
}

const STOPPED = {
  end: 'the end of the log',
  until: '--until',
  horizon: 'the last batch: the recorder was killed',
} as const;

function facts(result: ReplayResult, verified: boolean | null): Array<readonly [string, string]> {
  const guestS = Number(result.position.vtimeNs) / 1e9;
  const yes = (value: boolean | null): string =>
    value === null ? 'not compared' : value ? colour.green('identical') : colour.red('different');
  const list: Array<readonly [string, string]> = [
    [
      'started at',
      result.startedAt === null ? 'power-on' : `the checkpoint at ${formatPoint(result.startedAt)}`,
    ],
    ['stopped at', STOPPED[result.stoppedAt]],
    ['instructions', formatCount(sincePowerOn(result.position.point))],
    ['time', `${formatDuration(result.wallS * 1000)} (guest ${formatDuration(guestS * 1000)})`],
    ['records', formatCount(result.records)],
  ];
  if (result.digest !== null) list.push(['digest', result.digest]);
  if (verified === null) return list;
  list.push(['console', yes(result.consoleIdentical)], ['disks', yes(result.disksIdentical)]);
  list.push(['verified', verified ? colour.green('yes') : colour.red('no')]);
  return list;
}
