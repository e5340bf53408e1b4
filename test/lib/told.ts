// SPDX-License-Identifier: Apache-2.0
/** What tests of links share. */
import { encodeGoodbye } from '../../src/wire/messages.ts';

/** A frame that any side may send. */
export const goodbye = encodeGoodbye({ reason: 'x', message: 'y', lastSequence: 1n, term: 1 });

/** One of 60 KB. */
export const bigGoodbye = encodeGoodbye({
  reason: 'x',
  message: 'x'.repeat(60_000),
  lastSequence: 1n,
  term: 1,
});

export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** What a link has told. */
export class Told {
  readonly frames: Buffer[] = [];
  readonly closes: string[] = [];
  drains = 0;
  frame(frame: Buffer): void {
    this.frames.push(frame);
  }
  closed(code: string, message: string): void {
    this.closes.push(`${code}: ${message}`);
  }
  drained(): void {
    this.drains += 1;
  }
}
