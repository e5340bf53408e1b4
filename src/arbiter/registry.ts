// SPDX-License-Identifier: Apache-2.0
/** Finds, and opens, the arbiter that VM.toml's `replication.arbiter` names. */
import { assert } from '../base/assert.ts';
import type { Arbiter, ArbiterKind } from './arbiter.ts';
import * as kinds from './kinds.ts';
import { noArbiter } from './none.ts';

const KINDS: ReadonlyMap<string, ArbiterKind> = new Map(Object.entries(kinds));

/** What a value in VM.toml must be. */
export const ARBITER_HINT = `must be ${[...KINDS.values()]
  .map(({ form }) => `"${form}"`)
  .join(' or ')} (etcd is not supported yet)`;

export function isArbiterUrl(url: string): boolean {
  return split(url) !== null;
}

/**
 * The URL with its paths made absolute.
 * @param url one that `isArbiterUrl` accepts
 */
export function resolveArbiterUrl(url: string, absolute: (path: string) => string): string {
  const parts = split(url);
  assert(parts !== null, 'the configuration was validated');
  return `${parts.name}:${parts.kind.resolve(parts.rest, absolute)}`;
}

/** @param url one that `resolveArbiterUrl` returned; null: the pair has no arbiter */
export function openArbiter(url: string | null): Arbiter {
  if (url === null) return noArbiter();
  const parts = split(url);
  assert(parts !== null, 'the configuration was validated');
  return parts.kind.open(parts.rest);
}

function split(url: string): { name: string; kind: ArbiterKind; rest: string } | null {
  const colon = url.indexOf(':');
  const name = url.slice(0, Math.max(0, colon));
  const rest = url.slice(colon + 1);
  const kind = KINDS.get(name);
  return kind === undefined || rest === '' ? null : { name, kind, rest };
}
