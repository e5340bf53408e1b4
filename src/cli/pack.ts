// SPDX-License-Identifier: Apache-2.0
/** `understudy pack DIR [--out FILE] [--sign KEY] [--encrypt-key KEY]`: a recording as one file. */
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { UnderstudyError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { PACK_SUFFIX } from '../pack/format.ts';
import { fingerprint, keyIdOf, secretKey, signingKey } from '../pack/keys.ts';
import { type PackOptions, pack } from '../pack/pack.ts';
import { printJson, say } from './output.ts';
import { ByteProgress } from './progress.ts';
import { onSignals } from './signals.ts';

interface PackFlags {
  readonly out?: string;
  readonly sign?: string;
  readonly encryptKey?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('pack')
    .description('make one compressed file of a recording, to replay it on another machine')
    .argument('<DIR>', 'a folder that `understudy record` made; it is verified, and not changed')
    .option('-o, --out <FILE>', `default: the folder's name and ${PACK_SUFFIX}, here`)
    .option('--sign <KEY>', 'an Ed25519 private key, PEM: `unpack --verify-key` proves who made it')
    .option('--encrypt-key <KEY>', 'encrypt it: `unpack --decrypt-key` needs the same key')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\n`understudy unpack FILE` on the other machine makes the folder again.\n' +
        "A recording has its guest's memory, disks, keys and packets: encrypt what leaves your hands.\n" +
        '`understudy keys pack` makes the keys.',
    )
    .action(run);
}

/** @throws UnderstudyError keys-unusable */
function keysOf({ sign, encryptKey }: PackFlags): Pick<PackOptions, 'sign' | 'secret'> {
  return {
    ...(sign === undefined ? {} : { sign: signingKey(sign) }),
    ...(encryptKey === undefined ? {} : { secret: secretKey(encryptKey) }),
  };
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
    const options = { dir, out, onProgress, ...keysOf(flags) };
    const result = await pack(options, abort.signal);
    progress.close();
    if (flags.json === true) {
      const { file, members, bytes, packedBytes } = result;
      const { sign, secret } = options;
      const signer = sign === undefined ? null : fingerprint(keyIdOf(sign));
      const trust = { signer, encrypted: secret !== undefined };
      printJson({ file, members, bytes, packed_bytes: packedBytes, ...trust });
    } else {
      say(`packed ${formatBytes(result.bytes)} into ${formatBytes(result.packedBytes)}`);
      process.stdout.write(`${result.file}\n`);
    }
  } finally {
    progress.close();
    signals.close();
  }
}
