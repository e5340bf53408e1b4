// SPDX-License-Identifier: Apache-2.0
/**
 * All systems by name, in the order of a table's columns. A protocol that the product has is
 * a system by itself; those it does not have yet are named, and say so.
 */
import { PROTOCOL_NAMES } from '../../src/epochs/registry.ts';
import { colo } from './colo.ts';
import { type PairOptions, pair } from './pair.ts';
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

/** Checkpoints a second at which Remus (NSDI 2008) was measured. */
export const REMUS_HZ = [10, 20, 30, 40] as const;
const REMUS_WORKLOAD = 'compile';

const TITLES: Readonly<Record<string, string>> = {
  lockstep: 'ours, protected',
  'kemari-every': 'ours, kemari at every event',
};

export function allSystems(): readonly System[] {
  return [
    plain(),
    icount(),
    rrRecord(),
    rrReplay(),
    colo(),
    record(),
    replaySystem(),
    ...protectedPairs().map(pair),
  ];
}

/** Every way in which this version protects a VM, or will. */
export function protectedPairs(): readonly PairOptions[] {
  return [...new Set([...PROTOCOLS, ...PROTOCOL_NAMES])].flatMap((protocol): PairOptions[] => {
    if (protocol === 'lockstep-epoch') return EPOCHS.map(lockstepEpoch);
    const title = TITLES[protocol];
    const one = { protocol, ...(title === undefined ? {} : { title }) };
    if (protocol === 'remus') return [one, ...REMUS_HZ.map(remusAt)];
    return protocol === 'kemari' ? [one, kemariWithIoLog()] : [one];
  });
}

function lockstepEpoch([length, instructions]: readonly [string, number]): PairOptions {
  return {
    protocol: 'lockstep-epoch',
    name: `lockstep-epoch-${length}`,
    title: `ours, epochs of ${length} instructions`,
    replication: { epoch_instructions: instructions },
  };
}

function remusAt(hz: number): PairOptions {
  return {
    protocol: 'remus',
    name: `remus-${hz}hz`,
    title: `ours, remus at ${hz} Hz`,
    replication: everyMs(1000 / hz),
    variantOf: 'remus',
    only: {
      workloads: [REMUS_WORKLOAD],
      why: `the intervals of remus are compared on ${REMUS_WORKLOAD} only`,
    },
  };
}

/** So often and no other: the interval is what is compared. */
export function everyMs(ms: number): Readonly<Record<string, number>> {
  return { interval_ms: Math.round(ms), interval_ms_max: Math.round(ms) };
}

/** What a write has written is taken from the memory that the backup has (Ohmura 2011). */
function kemariWithIoLog(): PairOptions {
  return {
    protocol: 'kemari',
    name: 'kemari-io-log',
    title: 'ours, kemari with its I/O log',
    replication: { disk: 'io-log' },
    variantOf: 'kemari',
    only: { workloads: ['iozone'], why: 'the ways of disks are compared on iozone only' },
  };
}
