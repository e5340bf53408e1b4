// SPDX-License-Identifier: Apache-2.0
/**
 * `understudy unpack FILE [--out DIR] [--verify-key KEY] [--decrypt-key KEY]`: a packed recording as a
 * folder that replays.
 */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { UnderstudyError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { CatalogNote } from '../catalog/note.ts';
import { PACK_SUFFIX } from '../pack/format.ts';
import { secretKey, verifyingKey } from '../pack/keys.ts';
import { unpack } from '../pack/unpack.ts';
import { printJson, say } from './output.ts';
import { ByteProgress } from './progress.ts';
import { onSignals } from './signals.ts';

interface UnpackFlags {
  readonly out?: string;
  readonly verifyKey?: string;
  readonly decryptKey?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('unpack')
    .description('make a recording of a file that `understudy pack` made, all of it verified')
    .argument('<FILE>')
    .option('-o, --out <DIR>', `folder to make; default: the file's name without ${PACK_SUFFIX}`)
    .option('--verify-key <KEY>', 'an Ed25519 public key, PEM: only what it has signed')
    .option('--decrypt-key <KEY>', 'the key that it was encrypted with')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\nA signature is checked before anything else of the file is believed; without --verify-key\n' +
        'nobody knows who made it: a signature that is there proves nothing then.\n' +
        'Exit code 11: the file is damaged, newer, or not signed with that key; 2: its key is\n' +
        'another one, or missing. No folder is left.',
    )
    .action(run);
}

async function run(file: string, flags: UnpackFlags): Promise<void> {
  const out = flags.out ?? defaultOut(file);
  const abort = new AbortController();
  const signals = onSignals(() =>
    abort.abort(
      new UnderstudyError('interrupted', 'unpacking was interrupted: nothing is left of it'),
    ),
  );
  const progress = new ByteProgress('unpack', flags.json !== true);
  try {
    const onProgress = (done: number, total: number): void => progress.at(done, total);
    const { verifyKey, decryptKey } = flags;
    const keys = {
      ...(verifyKey === undefined ? {} : { verifyKey: verifyingKey(verifyKey) }),
      ...(decryptKey === undefined ? {} : { secret: secretKey(decryptKey) }),
    };
    const result = await unpack({ file, out, onProgress, ...keys }, abort.signal);
    progress.close();
    await new CatalogNote(result.dir, (text) => say(`warning: ${text}`)).note();
    if (flags.json === true) {
      const { dir, members, bytes, packedBytes, signer, isVerified, isEncrypted } = result;
      const trust = { signer, signature_verified: isVerified, encrypted: isEncrypted };
      printJson({ dir, members, bytes, packed_bytes: packedBytes, ...trust });
    } else {
      say(`unpacked and verified ${result.members} files, ${formatBytes(result.bytes)}`);
      if (result.isVerified) say(`signed with ${result.signer}`);
      else if (result.signer !== null) say(`says to be signed with ${result.signer}: not verified`);
      process.stdout.write(`${result.dir}\n`);
    }
  } finally {
    progress.close();
    signals.close();
  }
}

function defaultOut(file: string): string {
  const name = basename(file);
  if (name.endsWith(PACK_SUFFIX) && name !== PACK_SUFFIX) return name.slice(0, -PACK_SUFFIX.length);
  throw new UnderstudyError(
    'usage',
    `${file} does not end in ${PACK_SUFFIX}: give the folder to make with --out`,
  );
}
