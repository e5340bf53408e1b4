// SPDX-License-Identifier: Apache-2.0
/** `understudy record VM.toml --out DIR` */
import { type Command, Option } from 'commander';
import { formatBitRate, formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { createLogger } from '../base/logger.ts';
import { sincePowerOn } from '../base/position.ts';
import { CatalogNote } from '../catalog/note.ts';
import { INPUT_QUEUE_BYTES_MAX, Recorder } from '../record/recorder.ts';
import { checkOutput, type EndFacts, endJson } from '../recording/folder.ts';
import {
  chainMaxFor,
  RETAIN_DEFAULT,
  RETAIN_EVERY_DEFAULT,
  type RetainLimits,
} from '../retain/limits.ts';
import type { CheckpointNumbers } from '../vm/checkpointing.ts';
import { loadConfig } from '../vm/config.ts';
import { DIGEST_EVERY_DEFAULT } from '../vm/digest-every.ts';
import type { OnDiskError } from '../vm/disk-news.ts';
import { findQemu } from '../vm/qemu-binary.ts';
import { parseCheckpointPeriod, parseDigestPeriod, parseRetain } from './arguments.ts';
import { printFacts, printJson, say } from './output.ts';
import { onSignals } from './signals.ts';
import { isInteractive, type Keyboard, openKeyboard } from './terminal.ts';

interface RecordFlags {
  readonly out: string;
  readonly console: boolean;
  readonly digestEvery: number;
  readonly checkpointEvery?: CheckpointNumbers;
  readonly retain?: RetainLimits;
  readonly onDiskError?: OnDiskError;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('record')
    .description('run a VM to power-off or Ctrl-C, recording it')
    .argument('<VM.toml>', 'the VM; it runs on its own disk images')
    .requiredOption('-o, --out <DIR>', 'folder to make; it replays by itself anywhere')
    .option('--no-console', 'neither show the console nor send stdin to it')
    .option(
      '--digest-every <INSTRUCTIONS>',
      'log a digest of the VM so often, such as 100M; or off',
      parseDigestPeriod,
      DIGEST_EVERY_DEFAULT,
    )
    .option(
      '--checkpoint-every <PERIOD>',
      'write a checkpoint so often, such as 10s, or 1e9i (instructions); replay --from starts there',
      parseCheckpointPeriod,
    )
    .addOption(
      new Option(
        '--retain [LIMITS]',
        'a flight recorder: keep only the newest, such as 24h, 20G (log and checkpoints), 100 ' +
          `(checkpoints), or 24h,20G; without LIMITS ${RETAIN_DEFAULT}. Checkpoints are then made ` +
          `every ${RETAIN_EVERY_DEFAULT}, unless --checkpoint-every says when`,
      )
        .preset(RETAIN_DEFAULT)
        .argParser(parseRetain),
    )
    .addOption(
      new Option(
        '--on-disk-error <WHAT>',
        "a disk image's file system is full: stop (the guest waits for room) or report (it gets " +
          'an error); default: on_disk_error of VM.toml, or stop',
      ).choices(['stop', 'report']),
    )
    .option('--json', 'one JSON object on stdout at the end, and nothing else')
    .addHelpText(
      'after',
      '\nCtrl-C stops the recording at an exact position; a second one kills the VM.\n' +
        'On a terminal keys go to the guest, Ctrl-C too: Ctrl-] stops.',
    )
    .action(record);
}

async function record(file: string, flags: RecordFlags): Promise<void> {
  const { retain = null } = flags;
  const byDefault = retain === null ? null : parseCheckpointPeriod(RETAIN_EVERY_DEFAULT);
  const every = flags.checkpointEvery ?? byDefault;
  const config = loadConfig(file);
  checkOutput(flags.out);
  const qemu = await findQemu();
  let recorder: Recorder | null = null;
  let keyboard: Keyboard | null = null;
  let catalog: CatalogNote | null = null;
  let noted: Promise<void> | null = null;
  let stops = 0;
  const stop = (): void => {
    stops += 1;
    if (stops === 1) recorder?.stop();
    else recorder?.kill();
  };
  const signals = onSignals(stop);
  const showConsole = flags.console && flags.json !== true;
  try {
    recorder = await Recorder.start(
      {
        config,
        out: flags.out,
        qemu,
        logger: createLogger({ name: 'record' }),
        onConsole: (bytes) => {
          if (showConsole) process.stdout.write(bytes);
        },
        onWarning: (text) => say(`warning: ${text}`),
        digestEvery: flags.digestEvery,
        onDiskError: flags.onDiskError ?? config.replication?.onDiskError ?? 'stop',
        checkpoints:
          every === null || retain === null
            ? every
            : { ...every, chainMax: chainMaxFor(retain, every.everyMs, every.chainMax) },
        retain,
      },
      () => stops > 0,
    );
    const running = recorder;
    catalog = new CatalogNote(flags.out, (text) => say(`warning: ${text}`));
    noted = catalog.note();
    if (stops > 0) running.stop();
    if (flags.console) {
      if (isInteractive()) say(`recording ${config.name}; Ctrl-] stops`);
      keyboard = openKeyboard({
        type: (bytes) => running.input.type(bytes),
        full: () => running.input.queuedBytes > INPUT_QUEUE_BYTES_MAX,
        quit: stop,
      });
    }
    const end = await running.finished;
    keyboard?.close();
    report(end, running.recording.paths.dir, flags);
  } finally {
    keyboard?.close();
    await noted;
    await catalog?.noteEnd();
    signals.close();
  }
}

function report(end: EndFacts, dir: string, flags: RecordFlags): void {
  if (flags.json === true) {
    const { disks, ...rest } = endJson(end);
    printJson({ dir, ...rest, disks: disks.map((disk) => disk.hash) });
    return;
  }
  if (!process.stdout.isTTY) {
    say(`recorded ${dir}: ${formatCount(end.records)} records, digest ${end.digest}`);
    return;
  }
  process.stdout.write(`\nrecorded ${dir}\n`);
  const guestS = Number(end.vtimeNs) / 1e9;
  printFacts([
    ['ended by', end.reason === 'poweroff' ? 'the guest (power-off)' : 'the operator'],
    ['instructions', formatCount(sincePowerOn(end.point))],
    ['time', `${formatDuration(end.wall_s * 1000)} (guest ${formatDuration(guestS * 1000)})`],
    ['records', `${formatCount(end.records)} in ${formatCount(end.batches)} batches`],
    ['log', `${formatBytes(end.log_bytes)}, ${formatBitRate(end.log_bytes, end.wall_s)}`],
    ...(end.checkpoints === undefined ? [] : ([['checkpoints', checkpointText(end)]] as const)),
    ['digest', end.digest],
  ]);
}

function checkpointText({ checkpoints = 0, checkpoints_failed: failed = 0 }: EndFacts): string {
  return failed === 0
    ? formatCount(checkpoints)
    : `${formatCount(checkpoints)}, ${failed} given up`;
}
