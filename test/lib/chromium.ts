// SPDX-License-Identifier: Apache-2.0
/**
 * Headless Chromium, driven through two pipes (--remote-debugging-pipe): Node 20 has
 * no WebSocket, and a library that drives browsers is larger than what is needed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-scrollbars',
  '--remote-debugging-pipe',
];
const ANSWER_MS_MAX = 60_000;

export type Params = Readonly<Record<string, unknown>>;
interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** One browser with one page. */
export class Chromium {
  /** What the page said was wrong: exceptions, errors on the console, refused by policy. */
  readonly problems: string[] = [];
  /** Every URL that was asked for. */
  readonly requests: string[] = [];
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #session: string | null = null;
  #nextId = 1;
  #rest = '';

  private constructor(binary: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'understudy-chromium-'));
    const flags = [...FLAGS, `--user-data-dir=${this.#profile}`, 'about:blank'];
    this.#child = spawn(binary, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    process.once('exit', () => this.#end());
    const pipe = this.#child.stdio[4] as Readable;
    pipe.setEncoding('utf8').on('data', (text: string) => this.#receive(text));
    this.#child.once('exit', (code) => {
      const error = { message: `the browser has ended with ${code}` };
      for (const answer of this.#waiting.values()) answer({ error });
    });
  }

  static async start(binary: string): Promise<Chromium> {
    const browser = new Chromium(binary);
    const { targetInfos } = await browser.send('Target.getTargets');
    const page = (targetInfos as Array<{ type: string; targetId: string }>).find(
      ({ type }) => type === 'page',
    );
    const attached = await browser.send('Target.attachToTarget', {
      targetId: page?.targetId,
      flatten: true,
    });
    browser.#session = String(attached.sessionId);
    for (const domain of ['Page', 'Runtime', 'Network', 'Log'])
      await browser.send(`${domain}.enable`);
    return browser;
  }

  /** A command of the DevTools protocol. */
  send(method: string, params: Params = {}): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const session = this.#session === null ? {} : { sessionId: this.#session };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no answer to ${method} in ${ANSWER_MS_MAX} ms`));
      }, ANSWER_MS_MAX);
      this.#waiting.set(id, ({ result, error }) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        if (error === undefined) resolve(result ?? {});
        else reject(new Error(`${method}: ${error.message}`));
      });
      const pipe = this.#child.stdio[3] as Writable;
      pipe.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    });
  }

  /** Loads a page and waits until `ready`, an expression, is true. */
  async open(url: string, ready: string): Promise<void> {
    await this.send('Page.navigate', { url });
    await this.until(ready);
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  async until(expression: string): Promise<void> {
    for (const end = Date.now() + ANSWER_MS_MAX; Date.now() < end; ) {
      // While a page is being loaded there is nothing to ask.
      if (await this.evaluate<boolean>(`Boolean(${expression})`).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`never true: ${expression}; ${this.problems.join('; ')}`);
  }

  mouse(type: string, x: number, y: number, more: Params = {}): Promise<unknown> {
    return this.send('Input.dispatchMouseEvent', { type, x, y, ...more });
  }

  async key(key: string): Promise<void> {
    const text = key.length === 1 ? { text: key } : {};
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...text });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key });
  }

  /** PNG of what is in the window, or of the whole page. */
  async screenshot(whole = false): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: whole });
    return Buffer.from(String(data), 'base64');
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#session = null;
    await this.send('Browser.close').catch(() => {});
    await ended;
    this.#end();
  }

  #end(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #receive(text: string): void {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop() ?? '';
    for (const json of messages) {
      const message = JSON.parse(json) as Message;
      if (message.id === undefined) this.#event(message);
      else this.#waiting.get(message.id)?.(message);
    }
  }

  #event({ method, params = {} }: Message): void {
    if (method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(params));
    if (method === 'Runtime.consoleAPICalled') this.problems.push(JSON.stringify(params));
    if (method === 'Log.entryAdded') this.problems.push(JSON.stringify(params.entry));
    if (method === 'Network.requestWillBeSent') {
      this.requests.push(String((params.request as { url: string }).url));
    }
  }
}
