// SPDX-License-Identifier: Apache-2.0
/** `understudy debug DIR`: a gdb server for a recording, forward and backward. */
import { type Command, InvalidArgumentError } from 'commander';
import { formatCount } from '../base/format.ts';
import { createLogger } from '../base/logger.ts';
import { formatPoint, type Point, sincePowerOn } from '../base/position.ts';
import { pointField } from '../base/position-json.ts';
import { listCheckpoints } from '../checkpoint/manifest.ts';
import { DebugServer } from '../debug/server.ts';
import { refuseByEpochs } from '../recording/by-epochs.ts';
import { openRecording, recordingPaths } from '../recording/folder.ts';
import { holdRecording } from '../recording/lock.ts';
import { checkSame } from '../replay/replayer.ts';
import { findQemu } from '../vm/qemu-binary.ts';
import { parsePointOption } from './arguments.ts';
import { printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

interface DebugFlags {
  readonly from?: Point | 'end';
  readonly port?: number;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('debug')
    .description('let gdb look at a recording, running it forward and backward; until Ctrl-C')
    .argument('<DIR>', 'a folder that `understudy record` made; it is not changed')
    .option('--from <ICOUNT|end>', 'where each debugger begins (default: the beginning)', parseFrom)
    .option(
      '--port <N>',
      'where gdb connects: a port of this host, which each of its users can reach; 0: one that ' +
        "is free (default: a socket that is this user's alone)",
      parsePort,
    )
    .option('--json', 'one JSON object on stdout, once it listens')
    .addHelpText(
      'after',
      '\nIn gdb: the line that is printed (target remote …), then as usual: break, watch, continue, stepi, and\n' +
        'reverse-continue, reverse-stepi, …; `monitor help` lists what goes to a position.\n' +
        'Several debuggers may be connected at once, each where it likes.\n' +
        '\nExit code 11: the recording is damaged or foreign. 13: this host cannot replay it.',
    )
    .action(run);
}

function parseFrom(text: string): Point | 'end' {
  return text === 'end' ? 'end' : parsePointOption(text);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) {
    throw new InvalidArgumentError('It must be a port number, or 0 for one that is free.');
  }
  return port;
}

async function run(dir: string, flags: DebugFlags): Promise<void> {
  await refuseByEpochs(dir, 'a debugger');
  const hold = holdRecording(recordingPaths(dir));
  try {
    await serve(dir, flags);
  } finally {
    hold.release();
  }
}

async function serve(dir: string, flags: DebugFlags): Promise<void> {
  const recording = openRecording(dir);
  const qemu = await findQemu();
  await checkSame(recording, qemu);
  const checkpoints = listCheckpoints(recording.paths.checkpoints).length;
  let end: () => void = () => {};
  const asked = new Promise<void>((resolve) => {
    end = resolve;
  });
  const signals = onSignals(() => end());
  const server = await DebugServer.start({
    recording,
    qemu,
    logger: createLogger({ name: 'debug' }),
    from: flags.from ?? null,
    port: flags.port ?? null,
    onWarning: (text) => say(`warning: ${text}`),
    onSessions: (count) => say(count === 0 ? 'no debugger' : `debuggers: ${count}`),
  });
  const { target, extent } = server;
  if (flags.json === true) {
    const { begin, end } = extent;
    printJson({ target, ...pointField('from', begin), ...pointField('to', end), checkpoints });
  } else {
    process.stdout.write(
      `${formatPoint(extent.begin)} to ${formatCount(sincePowerOn(extent.end))}, ` +
        `${checkpoints} checkpoint(s)\ntarget remote ${target}\n`,
    );
    if (checkpoints === 0) {
      say('Going back replays from power-on: `record --checkpoint-every` makes it quick.');
    }
  }
  await asked;
  await server.close();
  signals.close();
}
