// SPDX-License-Identifier: Apache-2.0
/**
 * All systems by name, in the order of a table's columns. A protocol that the product has is
 * a system by itself; those it does not have yet are named, and say so.
 */
import { PROTOCOL_NAMES } from '../../src/epochs/registry.ts';
import { colo } from './colo.ts';
import { pair } from './pair.ts';
import { record } from './record.ts';
import { replaySystem } from './replay.ts';
import { rrRecord, rrReplay } from './rr.ts';
import type { System } from './system.ts';
import { icount, plain } from './unpatched.ts';

/** Protocols to compare; those without a pair here are drawn as "not yet". */
const PROTOCOLS = ['lockstep', 'lockstep-epoch', 'remus', 'kemari-every', 'kemari', 'quorum'];

/** Epochs of `lockstep-epoch`, each a system of its own: at 1 GIPS 0.1, 1 and 10 ms. */
const EPOCHS = [
  ['100k', 1e5],
  ['1M', 1e6],
  ['10M', 1e7],
] as const;

const LOCKSTEP_TITLE = 'ours, protected';

export function allSystems(): readonly System[] {
  const names = [...new Set([...PROTOCOLS, ...PROTOCOL_NAMES])];
  return [
    plain(),
    icount(),
    rrRecord(),
    rrReplay(),
    colo(),
    record(),
    replaySystem(),
    ...names.flatMap((protocol) => {
      if (protocol === 'lockstep-epoch') return EPOCHS.map(lockstepEpoch);
      return [pair({ protocol, ...(protocol === 'lockstep' ? { title: LOCKSTEP_TITLE } : {}) })];
    }),
  ];
}

function lockstepEpoch([length, instructions]: readonly [string, number]): System {
  return pair({
    protocol: 'lockstep-epoch',
    name: `lockstep-epoch-${length}`,
    title: `ours, epochs of ${length} instructions`,
    replication: [`epoch_instructions = ${instructions}`],
  });
}
