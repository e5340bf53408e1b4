// SPDX-License-Identifier: Apache-2.0
/** Parsers of option values, shared by commands. */
import { InvalidArgumentError } from 'commander';
import {
  CHECKPOINT_EVERY_HINT,
  type CheckpointNumbers,
  checkpointNumbers,
} from '../epochs/checkpoints.ts';
import { DIGEST_EVERY_HINT, parseDigestEvery } from '../vm/digest-every.ts';

/** "1234", "1_234", "12e9". */
export function parseIcount(text: string): bigint {
  const match = /^(\d[\d_]*)(?:[eE](\d{1,2}))?$/.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('It must be a number of instructions, such as 1000000 or 5e9.');
  }
  const [, digits = '0', exponent = '0'] = match;
  return BigInt(digits.replaceAll('_', '')) * 10n ** BigInt(exponent);
}

/** "100M", "off": instructions between two digests; 0: none. */
export function parseDigestPeriod(text: string): number {
  const instructions = parseDigestEvery(text);
  if (instructions === null) throw new InvalidArgumentError(`It must be ${DIGEST_EVERY_HINT}.`);
  return instructions;
}

/** "10s", "500ms", "1e9i": when checkpoints are made. */
export function parseCheckpointPeriod(text: string): CheckpointNumbers {
  const numbers = checkpointNumbers(text);
  if (numbers === null) throw new InvalidArgumentError(`It must be ${CHECKPOINT_EVERY_HINT}.`);
  return numbers;
}

/** "30", "0.5": seconds. */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !Number.isFinite(seconds) || seconds < 0) {
    throw new InvalidArgumentError('It must be a number of seconds, 0 or more.');
  }
  return seconds;
}
