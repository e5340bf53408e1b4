// SPDX-License-Identifier: Apache-2.0
/**
 * The operator's own programs in a failover: `fence_command`, which makes sure that the other
 * host is off before this side goes on alone, and `on_failover`, which is told that it does.
 *
 * A term that is won is worth nothing before `fence_command` has succeeded: until then the claim
 * counts as undecided, outputs stay held, and it is made again.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import type { Against, Arbiter, Claim, Claimant } from '../arbiter/arbiter.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { printableMessage } from '../base/printable.ts';
import type { Report } from '../replica/ports.ts';

export interface HelperOptions {
  /** Programs with their arguments; null: none. */
  readonly fenceCommand: readonly string[] | null;
  readonly onFailover: readonly string[] | null;
  readonly timeoutS: number;
  readonly report: Report;
}

type Event = 'fence' | 'failover';

const OUTPUT_CHARS_MAX = 4096;
const LAST_WORDS_MS = 200;
/** All that a helper finds in its environment beside UNDERSTUDY_*. */
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

export class Helpers {
  readonly #o: HelperOptions;
  /** Terms whose other side is known to be off. */
  readonly #fenced = new Set<number>();
  /** Facts of the term that was won, until this side goes on. */
  #won: Record<string, string> | null = null;

  /** @throws UnderstudyError config-value: a program cannot be run */
  constructor(options: HelperOptions) {
    this.#o = options;
    check('fence_command', options.fenceCommand);
    check('on_failover', options.onFailover);
  }

  /** The arbiter, whose claims against another side are won when that side is off too. */
  guard(arbiter: Arbiter): Arbiter {
    return {
      name: arbiter.name,
      shared: arbiter.shared,
      holder: (vmId) => arbiter.holder(vmId),
      probe: () => arbiter.probe(),
      claim: async (vmId, term, claimant, against) => {
        const claim = await arbiter.claim(vmId, term, claimant, against);
        if (claim.result !== 'won' || against === undefined) return claim;
        return this.#confirm(claim, vmId, claimant, against);
      },
    };
  }

  /** This side has gone on without the other: `on_failover` is run, once for each term won. */
  wentOn(): void {
    const facts = this.#won;
    this.#won = null;
    const command = this.#o.onFailover;
    if (facts === null || command === null) return;
    void this.#run('failover', command, facts).then((why) => {
      if (why === null) this.#o.report('on-failover', {});
      else this.#o.report('on-failover-failed', { reason: `on_failover ${why}` });
    });
  }

  async #confirm(
    claim: Extract<Claim, { result: 'won' }>,
    vmId: string,
    { name, role }: Claimant,
    { peer, reason, leaves }: Against,
  ): Promise<Claim> {
    const { term } = claim;
    const facts = {
      UNDERSTUDY_VM: name,
      UNDERSTUDY_VM_ID: vmId,
      UNDERSTUDY_ROLE: role,
      UNDERSTUDY_TERM: String(term),
      UNDERSTUDY_PEER: peer,
      UNDERSTUDY_REASON: printableMessage(reason),
    };
    const command = this.#o.fenceCommand;
    // Who says goodbye needs no force, least of all in a switch-over that the operator asked for.
    if (command !== null && !leaves && !this.#fenced.has(term)) {
      const why = await this.#run('fence', command, facts);
      if (why !== null) {
        return { result: 'unreachable', reason: `term ${term} is won, but fence_command ${why}` };
      }
      this.#fenced.add(term);
      this.#o.report('fenced', { peer, term });
    }
    this.#won = facts;
    return claim;
  }

  /** @returns null: exit code 0 within the time; or what it did instead, after its name */
  #run(
    event: Event,
    command: readonly string[],
    facts: Readonly<Record<string, string>>,
  ): Promise<string | null> {
    const [program = '', ...words] = command;
    const { timeoutS } = this.#o;
    return new Promise((resolve) => {
      // A group of its own: what it has started is ended with it.
      const child = spawn(program, words, {
        cwd: '/',
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH, UNDERSTUDY_EVENT: event, ...facts },
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said = (said + text).slice(-OUTPUT_CHARS_MAX);
        });
      }
      const late = setTimeout(() => {
        end(`did not end within ${timeoutS} s`);
        killGroup(child.pid);
      }, timeoutS * 1000);
      const end = (why: string | null): void => {
        clearTimeout(late);
        const last = printableMessage(said.trim().split('\n').at(-1) ?? '');
        resolve(why === null ? null : last === '' ? why : `${why}: ${last}`);
      };
      child.on('error', (error) => end(`cannot be run: ${messageOf(error)}`));
      child.on('exit', (code, signal) => {
        const why = code === 0 ? null : `ended with ${signal ?? `exit code ${code}`}`;
        // What it said last may not be read yet; what it has started may hold the pipe for ever.
        child.on('close', () => end(why));
        setTimeout(() => end(why), why === null ? 0 : LAST_WORDS_MS).unref();
      });
    });
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // it has just ended
  }
}

function check(key: string, command: readonly string[] | null): void {
  const [program] = command ?? [];
  if (program === undefined) return;
  try {
    accessSync(program, constants.X_OK);
    if (!statSync(program).isFile()) throw new Error(`${program} is not a file`);
  } catch (cause) {
    const why = `replication.${key}: this program cannot be run: ${messageOf(cause)}`;
    throw new UnderstudyError('config-value', why, { cause });
  }
}
