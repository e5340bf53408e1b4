// SPDX-License-Identifier: Apache-2.0
/** A protected guest whose Redis a guard watches, a client of it, and what is done to it. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { guardedGuest } from '../../scripts/steps/test-guarded.mjs';
import type { GuardFacts } from '../../src/guard/guard.ts';
import { Pair, type Side } from './pair.ts';
import { referenceGuest } from './workloads.ts';

const BOOT_MS_MAX = 120_000;
const AGAIN_MS_MAX = 60_000;

/** What is done to Redis, as it is typed at the guest's shell. */
export const FAULTS = {
  kill: 'killall -9 redis-server',
  stop: 'killall -STOP redis-server',
} as const;
export type Fault = keyof typeof FAULTS;

/**
 * Adds one to a number again and again, over a new connection each time, and says when another
 * Redis answers (its run_id), and when a number that was answered is not there any more.
 */
const CLIENT = `
const net = require('net');
let last = 0, run = '';
const say = (what) => console.log(JSON.stringify({ at: Date.now(), ...what }));
const once = () => new Promise((resolve) => {
  const socket = net.connect({ host: process.argv[1], port: 6379 });
  let text = '';
  const end = () => { socket.destroy(); resolve(); };
  socket.setTimeout(1000, end).on('error', end).on('close', end);
  socket.on('connect', () => socket.write('INCR n\\r\\nINFO server\\r\\n'));
  socket.on('data', (bytes) => {
    text += bytes;
    const n = Number(/^:(\\d+)\\r\\n/.exec(text)?.[1] ?? NaN);
    const id = /run_id:([0-9a-f]{40})\\r/.exec(text)?.[1];
    if (text.startsWith('-')) return end(); // it loads what it has
    if (id === undefined) return;
    if (!(n > last)) say({ lost: last, found: text.slice(0, 60) });
    last = n;
    if (id !== run) say({ run: id });
    run = id;
    end();
  });
});
(async () => { for (;;) { await once(); await new Promise((r) => setTimeout(r, 20)); } })();
`;

export interface GuardedOptions {
  /** VM.toml's [guard], as an inline table. */
  readonly guard: string;
  /** us.agent of the guest: whether its guard runs. */
  readonly agent: 'guard' | 'none';
  readonly protocol?: string;
}

export class Guarded {
  readonly pair: Pair;
  readonly #client: ChildProcess;
  /** When each Redis answered first, ms since the epoch. */
  readonly #runs: number[] = [];
  readonly #lost: string[] = [];

  private constructor(pair: Pair) {
    this.pair = pair;
    this.#client = pair.client(CLIENT);
    const { stdout } = this.#client;
    assert.ok(stdout, 'a pipe');
    createInterface({ input: stdout }).on('line', (line) => {
      const said = JSON.parse(line) as { at: number; run?: string; lost?: number };
      if (said.run !== undefined) this.#runs.push(said.at);
      if (said.lost !== undefined) this.#lost.push(line);
    });
  }

  /** Resolves once it is protected and its Redis answers. */
  static async start(dir: string, options: GuardedOptions): Promise<Guarded> {
    const reference = await referenceGuest();
    const { initrd, words } = await guardedGuest(new Progress({ quietDone: true }));
    const protocol = options.protocol ?? 'lockstep';
    const digests = protocol.startsWith('lockstep') ? ['digest_every = "20M"'] : [];
    const pair = Pair.start(
      dir,
      { ...reference, initrd },
      [`protocol = "${protocol}"`, ...digests],
      {
        runs: `${words} us.disk=1 us.agent=${options.agent}`,
        vm: [`guard = ${options.guard}`],
      },
    );
    try {
      const guarded = new Guarded(pair);
      await pair.until('Redis answers', () => guarded.#runs.length > 0, BOOT_MS_MAX);
      // The shell that faults are typed at comes last.
      await pair.until('a shell', () => pair.console('primary').includes('guest# '), BOOT_MS_MAX);
      return guarded;
    } catch (error) {
      await pair.end();
      throw error;
    }
  }

  async guard(side: Side): Promise<GuardFacts> {
    const status = await this.pair.status(side);
    assert.ok(status?.guard, `the ${side} has a guard`);
    return status.guard as GuardFacts;
  }

  /** Until `status` of a side says so. */
  async until(side: Side, what: string, holds: (guard: GuardFacts) => boolean): Promise<void> {
    let last: GuardFacts | null = null;
    const look = async (): Promise<boolean> => {
      last = await this.guard(side);
      return holds(last);
    };
    await this.pair.until(what, look, AGAIN_MS_MAX).catch((error) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
  }

  /** Does it to Redis. @returns ms until another one answered the client */
  async fault(side: Side, fault: Fault): Promise<number> {
    const before = this.#runs.length;
    const fromMs = Date.now();
    await this.pair.type(side, `${FAULTS[fault]}\n`);
    await this.answersAgain(before);
    return (this.#runs[before] ?? Number.NaN) - fromMs;
  }

  /** Redises that have answered. */
  get runs(): number {
    return this.#runs.length;
  }

  async answersAgain(before: number): Promise<void> {
    await this.pair.until('Redis answers again', () => this.#runs.length > before, AGAIN_MS_MAX);
  }

  /** What a client was told is there is there. */
  lostNothing(): void {
    assert.equal(this.#lost, []);
  }

  /** The operator stops it: the backup has compared every digest of the log, up to its end. */
  async stopsEqual(): Promise<void> {
    this.#client.kill('SIGKILL');
    this.pair.signal('primary', 'SIGINT');
    for (const side of ['primary', 'backup'] as const) {
      const { code, stderr } = await this.pair.ended(side);
      assert.is(code, 0, `${side}: ${stderr}`);
      assert.not.match(stderr, 'diverged');
    }
  }

  end(): Promise<void> {
    return this.pair.end();
  }
}
