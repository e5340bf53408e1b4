// SPDX-License-Identifier: Apache-2.0
/** `understudy diff DIR1 DIR2`: the first difference of two recordings, in context. */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { EXIT } from '../base/errors.ts';
import { formatCount } from '../base/format.ts';
import { compareLogs, type LogDifference } from '../log/compare-logs.ts';
import { describeRecord } from '../log/describe.ts';
import { openRecording, recordingPaths, refuseRetained } from '../recording/folder.ts';
import { holdRecording, type RecordingHold } from '../recording/lock.ts';
import { printJson } from './output.ts';

interface DiffFlags {
  readonly json?: true;
}

interface SetupDifference {
  readonly what: string;
  readonly a: string;
  readonly b: string;
}

export function register(program: Command): void {
  program
    .command('diff')
    .description('the first difference of two recordings, in context')
    .argument('<DIR1>')
    .argument('<DIR2>')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', '\nExit code 0: the same exits at the same positions. 1: not.')
    .action(run);
}

async function run(dirA: string, dirB: string, flags: DiffFlags): Promise<void> {
  const holds: RecordingHold[] = [];
  try {
    for (const dir of [dirA, dirB]) holds.push(holdRecording(recordingPaths(dir)));
    await diff(dirA, dirB, flags);
  } finally {
    for (const hold of holds) hold.release();
  }
}

async function diff(dirA: string, dirB: string, flags: DiffFlags): Promise<void> {
  const a = openRecording(dirA);
  const b = openRecording(dirB);
  for (const recording of [a, b]) refuseRetained(recording, '`diff`');
  const setup: SetupDifference[] = [];
  const compare = (what: string, left: string, right: string): void => {
    if (left !== right) setup.push({ what, a: left, b: right });
  };
  compare('VM configuration', a.manifest.config_hash, b.manifest.config_hash);
  compare('QEMU build', a.manifest.qemu.build_id, b.manifest.qemu.build_id);
  compare('guest clock at power-on', a.manifest.rtc_base, b.manifest.rtc_base);
  compare(
    'disks at power-on',
    a.manifest.disks.map((disk) => disk.hash).join(' '),
    b.manifest.disks.map((disk) => disk.hash).join(' '),
  );
  const difference = await compareLogs(a.paths.log, b.paths.log);
  if (flags.json === true) {
    printJson({
      identical: setup.length === 0 && difference.at === null,
      setup,
      records_same: difference.same,
      at: difference.at === null ? null : { a: json(difference.at.a), b: json(difference.at.b) },
    });
  } else {
    print(setup, difference);
  }
  if (setup.length > 0 || difference.at !== null) process.exitCode = EXIT.failure;
}

function print(setup: readonly SetupDifference[], difference: LogDifference): void {
  const out = (text: string): void => {
    process.stdout.write(`${text}\n`);
  };
  for (const { what, a, b } of setup) {
    out(`${what}:`);
    out(`  ${colour.red(`- ${a}`)}`);
    out(`  ${colour.green(`+ ${b}`)}`);
  }
  if (difference.at === null) {
    out(`${formatCount(difference.same)} records, all the same`);
    return;
  }
  out(`${formatCount(difference.same)} records are the same, then:`);
  for (const record of difference.before) out(`  ${describeRecord(record)}`);
  const side = (records: LogDifference['after']['a'], mark: string): void => {
    if (records.length === 0) out(`${mark} the log ends here`);
    for (const record of records) out(`${mark} ${describeRecord(record)}`);
  };
  side(difference.after.a, colour.red('-'));
  side(difference.after.b, colour.green('+'));
}

function json(record: LogDifference['before'][number] | null): object | null {
  if (record === null) return null;
  const { payload, ...rest } = record;
  return { ...rest, payload: payload === null ? null : Buffer.from(payload).toString('base64') };
}
