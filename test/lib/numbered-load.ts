// SPDX-License-Identifier: Apache-2.0
/** A client with one connection that knows every byte it must get, and one that annoys. */
import * as assert from 'uvu/assert';
import { FrameReader, requestFrame } from '../../src/lab/frames.ts';
import type { Pair, Wire } from './pair.ts';

const PORT = 7;
const LOOK_MS = 2;

export class NumberedLoad {
  readonly #wire: Wire;
  readonly #pair: Pair;
  readonly #seed: number;
  readonly #window: number;
  readonly #reader = new FrameReader();
  readonly #timer: NodeJS.Timeout;
  #consumed = 0;
  #sent = 0;
  #answered = 0;
  #stopping = false;

  /** @param window requests in flight */
  constructor(pair: Pair, seed: number, window: number) {
    this.#pair = pair;
    this.#seed = seed;
    this.#window = window;
    this.#wire = pair.connect(PORT);
    this.#timer = setInterval(() => this.#turn(), LOOK_MS);
  }

  get sent(): number {
    return this.#sent;
  }

  get answered(): number {
    return this.#answered;
  }

  /** Until so many more answers have come. */
  async more(count: number): Promise<void> {
    const wanted = this.#answered + count;
    await this.#pair.until(`${count} more answers`, () => {
      assert.not.ok(this.#wire.closed, `the connection broke after ${this.#answered} answers`);
      return this.#answered >= wanted;
    });
  }

  /** Sends no more, gets what it is owed, and compares every byte. */
  async finish(): Promise<void> {
    this.#stopping = true;
    await this.more(this.#sent - this.#answered);
    clearInterval(this.#timer);
    const all = Array.from({ length: this.#sent }, (_, n) => requestFrame(this.#seed, n));
    assert.ok(this.#wire.received.equals(Buffer.concat(all)), 'the answers, byte for byte');
    assert.not.ok(this.#wire.closed, 'the connection has outlived it all');
  }

  end(): void {
    clearInterval(this.#timer);
    this.#wire.end();
  }

  #turn(): void {
    const fresh = this.#wire.received.subarray(this.#consumed);
    this.#consumed += fresh.length;
    this.#answered += this.#reader.push(fresh).length;
    if (!this.#wire.connected || this.#stopping) return;
    while (this.#sent - this.#answered < this.#window) {
      this.#wire.send(requestFrame(this.#seed, this.#sent));
      this.#sent += 1;
    }
  }
}

/** What us-server says on the console to each client that sends garbage. */
export const REMARK = 'us-server: connection dropped: not a request';

const GARBAGE =
  "const c=()=>{const s=require('net').connect({host:process.argv[1],port:+process.argv[2]});" +
  "s.on('connect',()=>s.write('x'.repeat(64)));s.on('error',()=>{});s.resume();" +
  "s.on('close',()=>setTimeout(c,40))};c()";

/** Connects and sends garbage, again and again: so that the guest prints under load. */
export function annoy(pair: Pair): void {
  pair.client(GARBAGE, String(PORT));
}
