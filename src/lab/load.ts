// SPDX-License-Identifier: Apache-2.0
/** The client process as the demo sees it: started, watched, stopped. */
import { fileURLToPath } from 'node:url';
import { UnderstudyError } from '../base/errors.ts';
import { DemoChild } from './child.ts';
import type { ClientCounts, ClientEvent, ClientResult } from './client-events.ts';
import type { DemoNetwork } from './netns.ts';

export const SERVICE_PORT = 7;
const CONNECT_TIMEOUT_MS = 20_000;
const RESULT_TIMEOUT_MS = 15_000;

export interface LoadOptions {
  readonly network: DemoNetwork;
  readonly seed: number;
  readonly ratePerS: number;
  readonly window: number;
  readonly onEvent: (event: ClientEvent) => void;
}

export interface Gap {
  readonly from_ms: number;
  readonly ms: number;
}

export class Load {
  readonly #child: DemoChild;
  /** Times without an answer, 20 ms and longer. */
  readonly gaps: Gap[] = [];
  #counts: ClientCounts = { sent: 0, answered: 0, corrupted: 0, duplicated: 0 };
  #result: ClientResult | null = null;
  #connected: (local: string) => void = () => {};

  private constructor(options: LoadOptions) {
    const { network, seed, ratePerS, window } = options;
    const program = fileURLToPath(import.meta.resolve('./client.js'));
    const settings = [seed, ratePerS, window].map(String);
    this.#child = new DemoChild(network.prefix, {
      words: [process.execPath, program, network.guestAddress, String(SERVICE_PORT), ...settings],
      onStdout: (line) => {
        const event = JSON.parse(line) as ClientEvent;
        if (event.event === 'connected') this.#connected(event.local);
        if (event.event === 'progress') this.#counts = event;
        if (event.event === 'gap') this.gaps.push(event);
        if (event.event === 'result') this.#result = event;
        options.onEvent(event);
      },
    });
  }

  /** Resolves when its one connection is made. */
  static async start(options: LoadOptions): Promise<Load> {
    const load = new Load(options);
    const connected = new Promise<boolean>((resolve) => {
      load.#connected = () => resolve(true);
    });
    const isUp = await within(CONNECT_TIMEOUT_MS, connected, load.#child.ended);
    if (isUp !== true) {
      load.kill();
      throw new UnderstudyError('failure', `the client cannot connect: ${load.#child.lastWords}`);
    }
    return load;
  }

  /** Counts as of its last progress event. */
  get counts(): ClientCounts {
    return this.#counts;
  }

  get isOver(): boolean {
    return this.#result !== null;
  }

  /** Sends no more, waits for what it is owed, and returns its account. */
  async finish(): Promise<ClientResult> {
    this.#child.writeLine('stop');
    await within(RESULT_TIMEOUT_MS, this.#child.ended);
    this.kill();
    await this.#child.ended;
    if (this.#result === null) {
      throw new UnderstudyError('failure', `the client gave no result: ${this.#child.lastWords}`);
    }
    return this.#result;
  }

  kill(): void {
    this.#child.kill();
  }
}

/** The first of these, or undefined when the time is over. */
async function within<T>(timeoutMs: number, ...of: Promise<T | unknown>[]): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([...of, late]);
  } finally {
    clearTimeout(timer);
  }
}
