// SPDX-License-Identifier: Apache-2.0
/**
 * Looks into a running replay: what to ask QEMU for, and its answers
 * (qemu/exitlog/verify/probe.c has the format of both files).
 */
import { createReadStream, existsSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { keyOf, type Point, type Position, parsePosition } from '../base/position.ts';

/** A page of guest memory: of which RAM block, and where in it. */
export interface PageName {
  readonly block: string;
  readonly offset: bigint;
}

export type Probe =
  | { readonly verb: 'digest' | 'state'; readonly point: Point }
  | { readonly verb: 'pages'; readonly point: Point; readonly pages: readonly PageName[] };

/** A digest at the first position from `asked` on at which there can be one. */
export interface DigestAnswer {
  readonly at: Position;
  /** Records of the log applied before. */
  readonly ordinal: bigint;
  /** CPU, RAM, devices and outputs, as text. */
  readonly value: string;
}

export interface StateAnswer {
  readonly at: Position;
  readonly ordinal: bigint;
  /** Registers as QEMU's `info registers` shows them. */
  readonly registers: readonly string[];
  /** Device (and "cpu") sections by name, their saved state in hexadecimal. */
  readonly sections: ReadonlyMap<string, string>;
  /** Hash of each page by `pageKey`. */
  readonly pages: ReadonlyMap<string, string>;
}

export interface PageAnswer extends PageName {
  /** Guest-physical address; null for memory that is not mapped there. */
  readonly gpa: bigint | null;
  readonly bytes: Buffer;
}

export interface Answers {
  readonly digests: readonly DigestAnswer[];
  readonly state: StateAnswer | null;
  readonly contents: readonly PageAnswer[];
}

const NOT_MAPPED = (1n << 64n) - 1n;

export function pageKey({ block, offset }: PageName): string {
  return `${block}:${offset.toString(16)}`;
}

export function pageOfKey(key: string): PageName {
  const colon = key.lastIndexOf(':');
  return { block: key.slice(0, colon), offset: BigInt(`0x${key.slice(colon + 1)}`) };
}

/** Writes the file that QEMU reads; the positions must not decrease. */
export function writeProbes(file: string, probes: readonly Probe[]): void {
  const lines = probes.map((probe) =>
    probe.verb === 'pages'
      ? `pages ${keyOf(probe.point)} ${probe.pages.map(pageKey).join(',')}`
      : `${probe.verb} ${keyOf(probe.point)}`,
  );
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
}

/** Reads what QEMU answered before it ended, however it ended. */
export async function readAnswers(file: string): Promise<Answers> {
  const digests: DigestAnswer[] = [];
  const contents: PageAnswer[] = [];
  let state: StateAnswer | null = null;
  let registers: string[] = [];
  let sections = new Map<string, string>();
  let pages = new Map<string, string>();
  const answers = (): Answers => ({ digests, state, contents });
  const out = `${file}.out`;
  if (!existsSync(out)) return answers();
  for await (const line of createInterface({ input: createReadStream(out, 'latin1') })) {
    const words = line.split(' ');
    const [verb, a = '', b = '', c = '', d = '', ...more] = words;
    if (verb === 'digest' && more.length === 4) {
      const at = parsePosition(b, c);
      digests.push({ at, ordinal: BigInt(d), value: more.join(' ') });
    } else if (verb === 'state') {
      registers = [];
      sections = new Map();
      pages = new Map();
      const at = parsePosition(b, c);
      state = { at, ordinal: BigInt(d), registers, sections, pages };
    } else if (verb === 'register') {
      registers.push(line.slice('register '.length));
    } else if (verb === 'section') {
      // The name may have spaces in it; the instance and the bytes have none.
      const hex = words.at(-1) ?? '';
      sections.set(words.slice(1, -1).join(' '), hex);
    } else if (verb === 'page') {
      pages.set(`${a}:${b}`, c);
    } else if (verb === 'content' && more.length === 2) {
      contents.push(contentOf(words));
    }
  }
  return answers();
}

function contentOf(words: readonly string[]): PageAnswer {
  // content ICOUNT AT BLOCK OFFSET GPA BYTES
  const [, , , block = '', offset = '0', gpa = '0', hex = ''] = words;
  const address = BigInt(`0x${gpa}`);
  return {
    block,
    offset: BigInt(`0x${offset}`),
    gpa: address === NOT_MAPPED ? null : address,
    bytes: Buffer.from(hex, 'hex'),
  };
}
