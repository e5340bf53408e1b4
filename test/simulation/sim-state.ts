// SPDX-License-Identifier: Apache-2.0
/** The state of a simulated VM on its way to a backup that joins it. */
import type { FirstBatch, Origin, Start } from '../../src/log/entrance.ts';
import type { StateSink } from '../../src/replica/ports.ts';
import type { Piece } from '../../src/wire/joining.ts';

/** What a simulated checkpoint has. */
export interface SimState {
  readonly icount: bigint;
  readonly outputs: bigint;
  readonly released: bigint;
}

export function pack(state: SimState): Uint8Array {
  return Buffer.from([state.icount, state.outputs, state.released].join(' '));
}

export function unpack(text: string): SimState {
  const [icount = 0n, outputs = 0n, released = 0n] = text.split(' ').map(BigInt);
  return { icount, outputs, released };
}

/** The sink of a joining backup in the simulation: the chain is the state itself. */
export class SimSink implements StateSink {
  #state = '';

  blocks(): Promise<readonly BigUint64Array[]> {
    return Promise.resolve([new BigUint64Array(1)]);
  }

  put(piece: Piece): void {
    if (piece.file === 'checkpoint/state') this.#state = Buffer.from(piece.data).toString();
  }

  finish({ entrance }: Start<FirstBatch>): Promise<Origin> {
    return Promise.resolve({ entrance, chain: this.#state });
  }

  close(): void {}
}
