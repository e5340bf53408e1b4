// SPDX-License-Identifier: Apache-2.0
/** Where a debugged guest is, and what it met on the way. */
import { advance, comparePoints, type Point, parsePosition } from '../base/position.ts';
import { KIND, kindName } from '../log/kinds.ts';

/**
 * A position that a debugger can tell apart. At one point there can be several states:
 * `phase` is twice the exceptions and interrupts delivered since the last instruction, and one
 * less before what devices do there: -1 right after an instruction, 0 when the inputs of that
 * point are in (qemu/exitlog/debug/debug.c).
 */
export interface Place {
  readonly point: Point;
  readonly phase: number;
}

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function comparePlaces(a: Place, b: Place): number {
  return comparePoints(a.point, b.point) || a.phase - b.phase;
}

export function placeAt(point: Point): Place {
  return { point, phase: 0 };
}

/** The last point from which one can get to a place: a start stands after its point's inputs. */
export function startBefore({ point, phase }: Place): Point {
  return phase < 0 ? advance(point, -1n) : point;
}

/** A break- or watchpoint: `place` is before what it is about. */
export interface Hit {
  readonly kind: 'breakpoint' | 'watch' | 'rwatch' | 'awatch';
  readonly place: Place;
  readonly address: bigint;
  readonly cpu: number;
  /** What wrote to memory, if that was not a vCPU: in words. */
  readonly by: string | null;
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

/** Reads QEMU's answer (qemu/exitlog/debug/debug.c). @throws Error when it is none */
export function parseStop(text: string): Stop {
  const [head = '', ...rest] = text.split(';');
  const match = /^Understudy:(there|hit|pause|end),(\d+),(\d+),(-?\d+),(\d+),\d+$/.exec(head);
  if (match === null) throw new Error(`QEMU did not say where it stopped: ${text}`);
  const [, reason, at = '', vtime = '', phase = '', cpu = ''] = match;
  const { point, vtimeNs } = parsePosition(at, vtime);
  return {
    reason: reason as Stop['reason'],
    place: { point, phase: Number(phase) },
    vtimeNs,
    cpu: Number(cpu),
    hits: rest.map(parseHit),
  };
}

function parseHit(text: string): Hit {
  const [kind = '', at = '', phase = '', address = '', cpu = '', by = ''] = text.split(',');
  const known = KINDS[kind];
  if (known === undefined) throw new Error(`QEMU told of a hit that is none: ${text}`);
  return {
    kind: known,
    place: { point: parsePosition(at, '0').point, phase: Number(phase) },
    address: BigInt(`0x${address}`),
    cpu: Number(cpu),
    by: by === '' ? null : writerText(by),
  };
}

/** What QEMU says of a writer (qemu/exitlog/debug/debug-writes.c), in words. */
export function writerText(by: string): string {
  const [what, ...words] = by.split(' ');
  if (what === 'device') {
    return words[0] === '?' ? 'a device, at its own time' : `the device ${words.join(' ')}`;
  }
  if (what !== 'record') return 'the reset of the machine';
  const [kind = 0, channel = 0, len = 0] = words.slice(0, 3).map(Number);
  const arg = words[3] ?? '';
  const name = kindName(kind);
  if (kind === KIND.BLK_DONE) return `disk${channel}: request ${arg} is complete (${name})`;
  if (kind === KIND.NET_IN) return `net${channel}: a packet of ${len} bytes came (${name})`;
  return `the input ${name}`;
}
