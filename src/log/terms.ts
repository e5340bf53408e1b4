// SPDX-License-Identifier: Apache-2.0
/**
 * Where each term begins in a log: a log runs on through terms, and its batches say which
 * one they are of. A term begins when a survivor has taken over, or a primary that lost its
 * backup has won the fence.
 */
import { atIcount, type Point } from '../base/position.ts';
import { pointField } from '../base/position-json.ts';
import type { BatchHeader } from './batch.ts';

export interface TermStart {
  readonly term: number;
  /** Its first batch. */
  readonly sequence: bigint;
  /** Where that begins: at its first record, or, without one, at its horizon. */
  readonly point: Point;
  /** CLOCK_REALTIME of its seal. */
  readonly sealedAtNs: bigint;
}

export class TermStarts {
  readonly #list: TermStart[] = [];

  /** The next batch. */
  see({ term, sequence, firstIcount, sealedAtNs }: BatchHeader): void {
    if (this.#list.at(-1)?.term === term) return;
    this.#list.push({ term, sequence, point: atIcount(firstIcount), sealedAtNs });
  }

  /** In order; the first is that of the first batch. */
  get list(): readonly TermStart[] {
    return this.#list;
  }
}

export function termJson({ term, sequence, point, sealedAtNs }: TermStart): object {
  return { term, sequence, ...pointField('from', point), sealed_at_ns: sealedAtNs };
}
