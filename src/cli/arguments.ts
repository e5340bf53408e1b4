// SPDX-License-Identifier: Apache-2.0
/** Parsers of option values, shared by commands. */
import { InvalidArgumentError } from 'commander';
import { type Point, parsePoint } from '../base/position.ts';
import type { RetainLimits } from '../retain/limits.ts';
import {
  CHECKPOINT_EVERY_HINT,
  type CheckpointNumbers,
  checkpointNumbers,
} from '../vm/checkpointing.ts';
import { DIGEST_EVERY_HINT, parseDigestEvery } from '../vm/digest-every.ts';

/** "1234", "1_234", "12e9". */
export function parsePointOption(text: string): Point {
  const match = /^(\d[\d_]*)(?:[eE](\d{1,2}))?$/.exec(text);
  const [, digits = '', exponent = '0'] = match ?? [];
  const point = parsePoint(digits.replaceAll('_', '') + '0'.repeat(Number(exponent)));
  if (point !== null) return point;
  throw new InvalidArgumentError('It must be a number of instructions, such as 1000000 or 5e9.');
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

const DURATION_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** "30d", "12h": milliseconds. */
export function parseAge(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('It must be a number with s, m, h, d or w, such as 30d.');
  }
  return Number(match[1]) * (DURATION_MS[match[2] ?? ''] ?? 0);
}

/** "10G" (powers of 1000), "10Gi" (of 1024), "500000": bytes. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(?:([KMGT])(i?))?B?$/i.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('It must be a size such as 500M, 10G or 1T (or Mi, Gi, Ti).');
  }
  const power = match[2] === undefined ? 0 : 1 + 'KMGT'.indexOf(match[2].toUpperCase());
  return Math.round(Number(match[1]) * (match[3] === 'i' ? 1024 : 1000) ** power);
}

const RETAIN_HINT =
  'It must be limits such as 24h, 20G, 100 (checkpoints), or 24h,20G; without any it must come ' +
  'last, or before another option.';

/** "24h", "20G", "100", "24h,20G": what is kept of a recording that goes on. */
export function parseRetain(text: string): RetainLimits {
  let limits: RetainLimits = { count: null, ageMs: null, bytes: null };
  for (const part of text.split(',')) {
    if (/^\d+$/.test(part)) limits = { ...limits, count: parseCount(part) };
    else if (/[smhdw]$/.test(part)) limits = { ...limits, ageMs: parseAge(part) };
    else if (/[KMGTi]B?$/.test(part)) limits = { ...limits, bytes: parseBytes(part) };
    else throw new InvalidArgumentError(RETAIN_HINT);
  }
  if (Object.values(limits).some((limit) => limit === 0)) {
    throw new InvalidArgumentError(RETAIN_HINT);
  }
  return limits;
}

/** "0", "12". */
export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** "primary", "backup": a side of a pair. */
export function parseRole(text: string): 'primary' | 'backup' {
  if (text === 'primary' || text === 'backup') return text;
  throw new InvalidArgumentError('It must be primary or backup.');
}

/** "10.0.0.1:7700", "[::1]:7700". */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  if (match === null) throw new InvalidArgumentError('It must be HOST:PORT.');
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
}

/** Whom a certificate can be of. */
export function parseHolder(text: string): 'primary' | 'backup' | 'replica' {
  return text === 'replica' ? text : parseRole(text);
}
