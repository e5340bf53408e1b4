// SPDX-License-Identifier: Apache-2.0
/**
 * The fence as keys of an etcd cluster, decided by a majority of its members.
 *
 *     PREFIX + <vm id> = holder.json of the highest term
 *
 * A key's version counts the times it was written, so it is the term: a claim of term n is a
 * transaction that writes the holder if the version is n - 1. One of many finds it so. Asked
 * twice, a claim that was won finds itself. Term n + 1 cannot be claimed where term n is not
 * on record: a cluster that lost its data is unreachable, not free.
 */
import { z } from 'zod';
import { assert } from '../base/assert.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import type { Arbiter, ArbiterAccess, ArbiterKind, Claim, Claimant, Holder } from './arbiter.ts';
import { EtcdMembers, type Json } from './etcd-members.ts';
import { parseHolder } from './holder.ts';

const TIMEOUT_MS = 2000;
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** "etcd:URL,URL" */
export const ETCD: ArbiterKind = {
  form: 'etcd:https://HOST:2379,https://HOST:2379,…',
  wrong: wrongUrls,
  resolve: (urls) => urls,
  open: (urls, access) => {
    try {
      return etcdArbiter(urls, access);
    } catch (cause) {
      const why = `a file of replication.etcd cannot be used: ${messageOf(cause)}`;
      throw new UnderstudyError('config-value', why, { cause });
    }
  },
};

function wrongUrls(rest: string, { insecurePlaintext }: ArbiterAccess): string | null {
  for (const text of rest.split(',')) {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== '/') {
      return `"${text}" must be https://HOST:PORT, the client URL of a member`;
    }
    if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname) && !insecurePlaintext) {
      return (
        `${text} is plain HTTP to another host: whoever is on the way may decide who is primary. ` +
        'Use https (replication.etcd has ca, cert and key), or replication.etcd.insecure_plaintext = true'
      );
    }
  }
  return null;
}

/** @throws Error of the file system: a certificate cannot be read */
export function etcdArbiter(
  urls: string,
  access: ArbiterAccess,
  options: { timeoutMs?: number } = {},
): Arbiter {
  const { timeoutMs = TIMEOUT_MS } = options;
  const name = `etcd:${urls}`;
  const members = new EtcdMembers(urls.split(','), access);
  const keyOf = (id: string): string => Buffer.from(access.prefix + id).toString('base64');
  const unreachable = (error: unknown): string =>
    `the arbiter ${name} cannot decide: ${messageOf(error)}`;
  const decide = (txn: Json) =>
    members.ask('/v3/kv/txn', txn, timeoutMs).then((it) => answer.parse(it));
  return {
    name,
    shared: true,
    claim: async (vmId, term, claimant) => {
      assert(/^[0-9a-f]{32}$/.test(vmId), 'a VM id is 32 hex digits');
      assert(Number.isInteger(term) && term > 0, 'a term is a positive integer');
      try {
        const { succeeded, responses } = await decide(claimOf(keyOf(vmId), term, claimant));
        if (succeeded) return { result: 'won', term };
        return judge(holderIn(responses[0]?.response_range), vmId, term, claimant);
      } catch (error) {
        return { result: 'unreachable', reason: unreachable(error) };
      }
    },
    holder: async (vmId) => {
      try {
        const range = await members.ask('/v3/kv/range', { key: keyOf(vmId) }, timeoutMs);
        return holderIn(rangeSchema.parse(range));
      } catch (error) {
        return { unreachable: unreachable(error) };
      }
    },
    probe: async () => {
      try {
        await members.refresh();
        await decide(neverWon(keyOf('probe')));
        return null;
      } catch (error) {
        return unreachable(error);
      }
    },
  };
}

const rangeSchema = z.object({
  kvs: z
    .array(z.object({ value: z.base64(), version: z.coerce.number().int().positive() }))
    .default([]),
});

/** What is zero, false or empty is left out of etcd's JSON. */
const answer = z.object({
  succeeded: z.boolean().default(false),
  responses: z.array(z.object({ response_range: rangeSchema.optional() })).default([]),
});

function claimOf(key: string, term: number, claimant: Claimant): Json {
  const holder: Holder = { ...claimant, term, claimedAt: new Date().toISOString() };
  const value = Buffer.from(JSON.stringify(holder)).toString('base64');
  return {
    compare: [{ key, target: 'VERSION', result: 'EQUAL', version: String(term - 1) }],
    success: [{ request_put: { key, value } }],
    failure: [{ request_range: { key } }],
  };
}

/**
 * A claim whose condition nothing meets. It writes nothing, and is decided as every claim is: by a
 * majority, for one who may write, where there is room to.
 */
function neverWon(key: string): Json {
  return {
    compare: [{ key, target: 'VERSION', result: 'LESS', version: '0' }],
    success: [{ request_put: { key } }],
    failure: [{ request_range: { key } }],
  };
}

/** @throws Error when the key was written by something else */
function holderIn(range: z.output<typeof rangeSchema> | undefined): Holder | null {
  const [found] = range?.kvs ?? [];
  if (found === undefined) return null;
  const holder = parseHolder(Buffer.from(found.value, 'base64').toString('utf8'));
  if (holder.term !== found.version) {
    throw new Error(
      `the key of term ${holder.term} was written ${found.version} times: something else writes it`,
    );
  }
  return holder;
}

/** Ours, when we hold exactly the term claimed and nobody went past it. */
function judge(holder: Holder | null, vmId: string, term: number, { instance }: Claimant): Claim {
  const highest = holder?.term ?? 0;
  if (highest < term) {
    throw new Error(`it has no record of term ${term - 1} of VM ${vmId} (is it another cluster?)`);
  }
  const ours = highest === term && holder?.instance === instance;
  return ours ? { result: 'won', term } : { result: 'lost', term: highest, holder };
}
