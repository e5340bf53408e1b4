// SPDX-License-Identifier: Apache-2.0
/**
 * All systems by name, in the order of a table's columns. A protocol that the product has is
 * a system by itself; those it does not have yet are named, and say so.
 */
import { PROTOCOL_NAMES } from '../../src/epochs/policy.ts';
import { colo } from './colo.ts';
import { pair } from './pair.ts';
import { record } from './record.ts';
import { replaySystem } from './replay.ts';
import { rrRecord, rrReplay } from './rr.ts';
import type { System } from './system.ts';
import { icount, plain } from './unpatched.ts';

/** DESIGN section 7's protocols, in its order. */
const PROTOCOLS = ['lockstep', 'lockstep-epoch', 'remus', 'kemari-every', 'kemari', 'quorum'];

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
    ...names.map((protocol) =>
      pair({ protocol, ...(protocol === 'lockstep' ? { title: LOCKSTEP_TITLE } : {}) }),
    ),
  ];
}
