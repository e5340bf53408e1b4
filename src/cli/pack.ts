// SPDX-License-Identifier: Apache-2.0
/** `understudy pack DIR [--out FILE]`: a recording as one portable file. */
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { UnderstudyError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { PACK_SUFFIX } from '../pack/format.ts';
import { pack } from '../pack/pack.ts';
import { printJson, say } from './output.ts';
import { ByteProgress } from './progress.ts';
import { onSignals } from './signals.ts';

interface PackFlags {
  readonly out?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('pack')
    .description('make one compressed file of a recording, to replay it on another machine')
    .argument('<DIR>', 'a folder that `understudy record` made; it is verified, and not changed')
    .option('-o, --out <FILE>', `default: the folder's name and ${PACK_SUFFIX}, here`)
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', '\n`understudy unpack FILE` on the other machine makes the folder again.')
    .action(run);
}

async function run(dir: string, flags: PackFlags): Promise<void> {
  const out = flags.out ?? `${basename(resolve(dir))}${PACK_SUFFIX}`;
  const abort = new AbortController();
  const signals = onSignals(() =>
    abort.abort(
      new UnderstudyError('interrupted', 'packing was interrupted: nothing is left of it'),
    ),
  );
  const progress = new ByteProgress('pack', flags.json !== true);
  try {
    const onProgress = (done: number, total: number): void => progress.at(done, total);
    const result = await pack({ dir, out, onProgress }, abort.signal);
    progress.close();
    if (flags.json === true) {
      const { file, members, bytes, packedBytes } = result;
      printJson({ file, members, bytes, packed_bytes: packedBytes });
    } else {
      say(`packed ${formatBytes(result.bytes)} into ${formatBytes(result.packedBytes)}`);
      process.stdout.write(`${result.file}\n`);
    }
  } finally {
    progress.close();
    signals.close();
  }
}
