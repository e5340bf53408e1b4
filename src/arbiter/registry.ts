// SPDX-License-Identifier: Apache-2.0
/** Finds, and opens, the arbiter that VM.toml's `replication.arbiter` names. */
import { assert } from '../base/assert.ts';
import { type Arbiter, type ArbiterAccess, type ArbiterKind, NO_ACCESS } from './arbiter.ts';
import * as kinds from './kinds.ts';
import { noArbiter } from './none.ts';

const KINDS: ReadonlyMap<string, ArbiterKind> = new Map(Object.entries(kinds));

/** What a value in VM.toml must be. */
export const ARBITER_HINT = `must be ${[...KINDS.values()]
  .map(({ form }) => `"${form}"`)
  .join(' or ')}`;

export function isArbiterUrl(url: string): boolean {
  return split(url) !== null;
}

/**
 * Why a URL of a known kind is no arbiter's, or null.
 * @param url one that `isArbiterUrl` accepts
 */
export function arbiterProblem(url: string, access: ArbiterAccess = NO_ACCESS): string | null {
  const { kind, rest } = known(url);
  return kind.wrong(rest, access);
}

/**
 * The URL with its paths made absolute.
 * @param url one that `isArbiterUrl` accepts
 */
export function resolveArbiterUrl(url: string, absolute: (path: string) => string): string {
  const { name, kind, rest } = known(url);
  return `${name}:${kind.resolve(rest, absolute)}`;
}

/**
 * @param url one that `resolveArbiterUrl` returned; null: the pair has no arbiter
 * @throws UnderstudyError boot-file: a file of `access` cannot be read
 */
export function openArbiter(url: string | null, access: ArbiterAccess = NO_ACCESS): Arbiter {
  if (url === null) return noArbiter();
  const { kind, rest } = known(url);
  return kind.open(rest, access);
}

interface Parts {
  readonly name: string;
  readonly kind: ArbiterKind;
  readonly rest: string;
}

function known(url: string): Parts {
  const parts = split(url);
  assert(parts !== null, 'the configuration was validated');
  return parts;
}

function split(url: string): Parts | null {
  const colon = url.indexOf(':');
  const name = url.slice(0, Math.max(0, colon));
  const rest = url.slice(colon + 1);
  const kind = KINDS.get(name);
  return kind === undefined || rest === '' ? null : { name, kind, rest };
}
