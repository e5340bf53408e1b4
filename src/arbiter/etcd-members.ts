// SPDX-License-Identifier: Apache-2.0
/**
 * The members of an etcd cluster, over the JSON of its gRPC gateway.
 *
 * A question is asked of one member, then of the next and the next again, a moment apart, until one
 * has answered: a member that is dead, paused or cut off costs that moment and no more, and so does
 * a proposal that was lost with a leader. What is asked may therefore be done more than once.
 */
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import { messageOf } from '../base/errors.ts';
import { printableMessage } from '../base/printable.ts';
import type { ArbiterAccess } from './arbiter.ts';

export type Json = Readonly<Record<string, unknown>>;

/** How long one member is waited for before the next is asked as well. */
const NEXT_MS = 150;
const ANSWER_BYTES_MAX = 256 * 1024;
/** gRPC's codes of what another member, or the same one a moment later, may answer otherwise. */
const PASSING: readonly unknown[] = [1, 4, 10, 14];
/** Without a leader a member says so at once, instead of waiting for one. */
const HEADERS = { 'Content-Type': 'application/json', 'Grpc-Metadata-hasleader': 'true' };

/** A member said no: every other one would say the same. */
class Refusal extends Error {}

interface Answer {
  readonly status: number;
  readonly text: string;
}

interface Pem {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

type Outcome =
  | { readonly member: number; readonly answer: Json }
  | { readonly member: number; readonly error: unknown };

export class EtcdMembers {
  readonly #urls: readonly URL[];
  readonly #access: ArbiterAccess;
  #pem: Pem;
  #agents: readonly http.Agent[];
  /** The member that answered last: asked first. */
  #first = 0;
  #token: string | null = null;

  /** @throws Error of the file system: a certificate cannot be read */
  constructor(urls: readonly string[], access: ArbiterAccess) {
    this.#urls = urls.map((url) => new URL(url));
    this.#access = access;
    const read = (path: string | null) => (path === null ? null : readFileSync(path, 'utf8'));
    this.#pem = { ca: read(access.ca), cert: read(access.cert), key: read(access.key) };
    this.#agents = this.#connect();
  }

  /** Takes certificates that were renewed. @throws Error of the file system */
  async refresh(): Promise<void> {
    const { ca, cert, key } = this.#access;
    const read = async (path: string | null) => (path === null ? null : readFile(path, 'utf8'));
    const pem: Pem = { ca: await read(ca), cert: await read(cert), key: await read(key) };
    const old = this.#pem;
    if (pem.ca === old.ca && pem.cert === old.cert && pem.key === old.key) return;
    this.#pem = pem;
    for (const agent of this.#agents) agent.destroy();
    this.#agents = this.#connect();
  }

  /**
   * @param path as "/v3/kv/txn"
   * @throws Error that says of each member why it gave no answer
   */
  async ask(path: string, question: Json, timeoutMs: number): Promise<Json> {
    const enough = new AbortController();
    setMaxListeners(0, enough.signal); // one for each time that a member is asked
    try {
      return await this.#askAround(path, question, timeoutMs, enough.signal);
    } finally {
      enough.abort();
    }
  }

  async #askAround(
    path: string,
    question: Json,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Json> {
    const endMs = performance.now() + timeoutMs;
    const open = new Map<number, Promise<Outcome & { readonly nth: number }>>();
    const why = new Map<number, string>();
    let asked = 0;
    let nextMs = 0;
    for (;;) {
      const nowMs = performance.now();
      if (nowMs >= endMs) throw new Error(this.#silence(why, timeoutMs));
      if (nowMs >= nextMs) {
        const nth = asked;
        const member = (this.#first + nth) % this.#urls.length;
        const outcome = this.#askOne(member, path, question, signal);
        open.set(
          nth,
          outcome.then((it) => ({ ...it, nth })),
        );
        asked += 1;
        nextMs = nowMs + NEXT_MS;
      }
      const settled = await firstOf([...open.values()], Math.min(nextMs, endMs));
      if (settled === null) continue;
      open.delete(settled.nth);
      if ('answer' in settled) {
        this.#first = settled.member;
        return settled.answer;
      }
      why.set(settled.member, messageOf(settled.error));
      if (settled.error instanceof Refusal) throw new Error(this.#said(settled.member, why));
      // The others are asked at once; whoever has answered is not asked again before the moment is over.
      if (asked < this.#urls.length) nextMs = 0;
    }
  }

  async #askOne(
    member: number,
    path: string,
    question: Json,
    signal: AbortSignal,
  ): Promise<Outcome> {
    try {
      const isStale = (answer: Answer) => /invalid auth token|auth store is old/.test(answer.text);
      let answer = await this.#post(
        member,
        path,
        question,
        await this.#login(member, signal),
        signal,
      );
      if (answer.status !== 200 && isStale(answer)) {
        this.#token = null;
        answer = await this.#post(
          member,
          path,
          question,
          await this.#login(member, signal),
          signal,
        );
      }
      return { member, answer: bodyOf(answer, path) };
    } catch (error) {
      return { member, error };
    }
  }

  /** @returns the header's value; null: nobody logs in */
  async #login(member: number, signal: AbortSignal): Promise<string | null> {
    const { user, passwordFile } = this.#access;
    if (user === null || passwordFile === null) return null;
    if (this.#token !== null) return this.#token;
    const password = (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '');
    const path = '/v3/auth/authenticate';
    const body = bodyOf(
      await this.#post(member, path, { name: user, password }, null, signal),
      path,
    );
    if (typeof body.token !== 'string') throw new Error('it logs nobody in');
    this.#token = body.token;
    return body.token;
  }

  #post(
    member: number,
    path: string,
    question: Json,
    token: string | null,
    signal: AbortSignal,
  ): Promise<Answer> {
    const url = this.#urls[member];
    const agent = this.#agents[member];
    if (url === undefined || agent === undefined) throw new Error('no such member');
    const { request } = url.protocol === 'https:' ? https : http;
    const headers = token === null ? HEADERS : { ...HEADERS, Authorization: token };
    return new Promise((resolve, reject) => {
      const asking = request(new URL(path, url), { method: 'POST', agent, headers, signal });
      asking.on('error', reject);
      asking.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > ANSWER_BYTES_MAX) response.destroy(new Error('its answer has no end'));
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      asking.end(JSON.stringify(question));
    });
  }

  #connect(): http.Agent[] {
    const { ca, cert, key } = this.#pem;
    const tls = {
      ...(ca === null ? {} : { ca }),
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
    };
    return this.#urls.map(({ protocol }) =>
      protocol === 'https:'
        ? new https.Agent({ keepAlive: true, ...tls })
        : new http.Agent({ keepAlive: true }),
    );
  }

  #said(member: number, why: ReadonlyMap<number, string>): string {
    return `${this.#urls[member]?.origin}: ${why.get(member) ?? 'no answer'}`;
  }

  #silence(why: ReadonlyMap<number, string>, timeoutMs: number): string {
    const each = this.#urls.map((_, member) => this.#said(member, why)).join('; ');
    return `no member answered within ${timeoutMs} ms (${each})`;
  }
}

/** @returns null at `untilMs` */
async function firstOf<T>(promises: readonly Promise<T>[], untilMs: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), Math.max(0, untilMs - performance.now()));
  });
  try {
    return await Promise.race([...promises, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws Refusal, Error */
function bodyOf({ status, text }: Answer, path: string): Json {
  const body = parsed(text);
  if (status === 200 && body !== null) return body;
  if (body === null) throw new Error(otherAnswer(status, text, path));
  const said = String(body.message ?? body.error ?? `HTTP status ${status}`);
  const words = printableMessage(said);
  if (/no leader/.test(said)) {
    throw new Error(`${words}: it sees no majority of the members, which alone can decide`);
  }
  throw PASSING.includes(body.code) ? new Error(words) : new Refusal(words);
}

/** An answer that is none of etcd's API. */
function otherAnswer(status: number, text: string, path: string): string {
  const words = printableMessage(text.trim());
  if (/^CommonName /.test(words)) {
    return `${words}: where etcd has users, replication.etcd.cert must have no common name`;
  }
  const hint = status === 404 ? '; etcd 3.4 or newer does, with --enable-grpc-gateway' : '';
  return `it does not serve ${path} (HTTP status ${status}: ${words})${hint}`;
}

function parsed(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Json) : null;
  } catch {
    return null;
  }
}
