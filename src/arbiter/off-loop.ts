// SPDX-License-Identifier: Apache-2.0
/**
 * Questions whose answer may never come, put to a process of their own.
 *
 * Threads would not do: Node ends only when all of its own have, and one that waits for a file
 * system does not. A process that is late is killed and forgotten, and the next question
 * starts another; while one cannot even be killed, none is started.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { messageOf } from '../base/errors.ts';

interface Asked {
  readonly id: number;
  readonly name: string;
  readonly words: readonly unknown[];
}

type Answered =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

interface Waiting {
  answer(value: unknown): void;
  fail(error: Error): void;
}

/** A loaded host takes its time to start a process, which says nothing of what it asks. */
const START_MS_MAX = 10_000;
/** Id of the answer that says that a process is there. */
const HERE = 0;

export class OffLoop<Q> {
  readonly #program: string;
  readonly #timeoutMs: number;
  #helper: Helper | null = null;

  /**
   * @param program a module that calls `answerQuestions`
   * @param timeoutMs for one answer
   */
  constructor(program: string, timeoutMs: number) {
    this.#program = program;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws Error what the program says; or that it does not answer */
  async ask<Name extends keyof Q & string>(
    name: Name,
    ...words: Q[Name] extends (...words: infer W) => unknown ? W : never
  ): Promise<Q[Name] extends (...words: never) => Promise<infer Value> ? Value : never> {
    const helper = this.#usable();
    await helper.within(helper.here, START_MS_MAX, 'the process that asks it did not start');
    const answer = helper.ask(name, words);
    const late = `did not answer within ${this.#timeoutMs} ms`;
    return (await helper.within(answer, this.#timeoutMs, late)) as never;
  }

  #usable(): Helper {
    const last = this.#helper;
    if (last !== null && !last.isOver) return last;
    if (last?.hungForMs != null) {
      const s = Math.round(last.hungForMs / 1000);
      throw new Error(`hangs: process ${last.pid}, which asked it, cannot be ended since ${s} s`);
    }
    this.#helper = new Helper(this.#program);
    return this.#helper;
  }
}

/** One process. */
class Helper {
  /** It has started. */
  readonly here: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = HERE;
  #killedMs: number | null = null;
  #exited = false;

  constructor(program: string) {
    // Nothing of its daemon's: who reads that one's output must see the end of it.
    const child = fork(program, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.#child = child;
    // It does not keep its daemon; a question that is open does, by its timer.
    child.unref();
    child.channel?.unref();
    this.here = this.#answerTo(HERE);
    child.on('message', (answer: Answered) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ('error' in answer) waiting?.fail(new Error(answer.error));
      else waiting?.answer(answer.value);
    });
    child.on('error', (error) => this.#lost(messageOf(error)));
    child.on('exit', (code, signal) => {
      this.#exited = true;
      this.#lost(`the process that asks it ended with ${signal ?? code}`);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** No answer will come of it any more. */
  get isOver(): boolean {
    return this.#exited || this.#killedMs !== null;
  }

  /** Since it was killed, in vain so far; null: it was not, or is gone. */
  get hungForMs(): number | null {
    return this.#exited || this.#killedMs === null ? null : performance.now() - this.#killedMs;
  }

  ask(name: string, words: readonly unknown[]): Promise<unknown> {
    this.#lastId += 1;
    const asked: Asked = { id: this.#lastId, name, words };
    const answer = this.#answerTo(asked.id);
    this.#child.send(asked, (error) => {
      if (error !== null) this.#lost(messageOf(error));
    });
    return answer;
  }

  /** Whoever is late is killed. */
  async within<T>(what: Promise<T>, ms: number, late: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(late));
        this.#kill();
      }, ms);
    });
    try {
      return await Promise.race([what, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  #answerTo(id: number): Promise<unknown> {
    const answer = new Promise<unknown>((answer, fail) => {
      this.#waiting.set(id, { answer, fail });
    });
    answer.catch(() => {}); // who asked hears of it, unless it was late
    return answer;
  }

  #kill(): void {
    if (this.isOver) return;
    this.#killedMs = performance.now();
    this.#child.kill('SIGKILL');
    this.#lost('the process that asks it was late, and was ended');
  }

  #lost(reason: string): void {
    for (const { fail } of this.#waiting.values()) fail(new Error(`cannot be asked: ${reason}`));
    this.#waiting.clear();
  }
}

/**
 * The other end: a process that answers until whoever started it is gone.
 * @param failure text for what an answer threw
 */
export function answerQuestions<Q extends object>(
  answers: Q,
  failure: (error: unknown) => string,
): void {
  const send = (answer: Answered): void => void process.send?.(answer, () => {});
  // A Ctrl-C at a terminal is for the daemon, which may have questions because of it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.on('message', ({ id, name, words }: Asked) => {
    const answer = answers[name as keyof Q] as (...words: readonly unknown[]) => Promise<unknown>;
    answer(...words).then(
      (value) => send({ id, value }),
      (error: unknown) => send({ id, error: failure(error) }),
    );
  });
  send({ id: HERE, value: null });
}
