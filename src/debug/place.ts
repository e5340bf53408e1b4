// SPDX-License-Identifier: Apache-2.0
/** Where a debugged guest is, and what it met on the way. */

/**
 * A position that a debugger can tell apart. At one icount there can be several states:
 * `phase` counts the exceptions and interrupts delivered since the last instruction.
 */
export interface Place {
  readonly icount: bigint;
  readonly phase: number;
}

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function comparePlaces(a: Place, b: Place): number {
  if (a.icount !== b.icount) return a.icount < b.icount ? -1 : 1;
  return a.phase - b.phase;
}

export function placeAt(icount: bigint): Place {
  return { icount, phase: 0 };
}

/** A break- or watchpoint: `place` is before the instruction that it is about. */
export interface Hit {
  readonly kind: 'breakpoint' | 'watch' | 'rwatch' | 'awatch';
  readonly place: Place;
  readonly address: bigint;
  readonly cpu: number;
}

/** The guest stands still. */
export interface Stop {
  /**
   * there: where it was to go; hit: a break- or watchpoint; pause: asked for; end: the
   * log is used up, and its digest is that of the recording.
   */
  readonly reason: 'there' | 'hit' | 'pause' | 'end';
  readonly place: Place;
  readonly vtimeNs: bigint;
  /** Index of the vCPU whose turn it is. */
  readonly cpu: number;
  /** Break- and watchpoints met, the last ones if there were many, in order. */
  readonly hits: readonly Hit[];
}

const KINDS: Readonly<Record<string, Hit['kind']>> = {
  b: 'breakpoint',
  w: 'watch',
  r: 'rwatch',
  a: 'awatch',
};

/** Reads QEMU's answer (qemu/exitlog/debug.c). @throws Error when it is none */
export function parseStop(text: string): Stop {
  const [head = '', ...rest] = text.split(';');
  const match = /^Understudy:(there|hit|pause|end),(\d+),(\d+),(\d+),(\d+),\d+$/.exec(head);
  if (match === null) throw new Error(`QEMU did not say where it stopped: ${text}`);
  const [, reason, icount = '', vtime = '', phase = '', cpu = ''] = match;
  return {
    reason: reason as Stop['reason'],
    place: { icount: BigInt(icount), phase: Number(phase) },
    vtimeNs: BigInt(vtime),
    cpu: Number(cpu),
    hits: rest.map(parseHit),
  };
}

function parseHit(text: string): Hit {
  const [kind = '', icount = '', phase = '', address = '', cpu = ''] = text.split(',');
  const known = KINDS[kind];
  if (known === undefined) throw new Error(`QEMU told of a hit that is none: ${text}`);
  return {
    kind: known,
    place: { icount: BigInt(icount), phase: Number(phase) },
    address: BigInt(`0x${address}`),
    cpu: Number(cpu),
  };
}
