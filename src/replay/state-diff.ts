// SPDX-License-Identifier: Apache-2.0
/** Two replays in one position: registers, devices and memory, where they differ. */
import type { Point, Position } from '../base/position.ts';
import {
  type Answers,
  type PageAnswer,
  type Probe,
  pageOfKey,
  type StateAnswer,
} from './probes.ts';

export interface LineDifference {
  readonly expected: string;
  readonly actual: string;
}

export interface SectionDifference extends LineDifference {
  /** "cpu 0": QEMU's name of the saved state, and which of several. */
  readonly section: string;
  /** Offset of the first byte that differs; the texts are the bytes around it. */
  readonly offset: number;
  readonly bytes: number;
}

export interface ByteRun {
  /** Guest-physical, or within the block when the page is not mapped. */
  readonly address: bigint;
  readonly expected: string;
  readonly actual: string;
}

export interface PageDifference {
  readonly block: string;
  readonly offset: bigint;
  readonly gpa: bigint | null;
  readonly bytesDifferent: number;
  /** The first rows of 16 bytes that differ. */
  readonly rows: readonly ByteRun[];
}

export interface Differences {
  readonly at: Position;
  readonly registers: readonly string[];
  readonly registersDifferent: readonly LineDifference[];
  readonly sections: readonly SectionDifference[];
  /** How many pages differ; `pages` shows the first. */
  readonly pagesDifferent: number;
  readonly pages: readonly PageDifference[];
}

type Look = (probes: readonly Probe[], which: 'suspect' | 'reference') => Promise<Answers>;

const PAGES_SHOWN = 4;
const ROWS_SHOWN = 4;
const ROW = 16;

/** Null when the suspect did not live to be looked at. */
export async function lookAt(point: Point, look: Look): Promise<Differences | null> {
  const state: Probe[] = [{ verb: 'state', point }];
  const [reference, suspect] = (
    await Promise.all([look(state, 'reference'), look(state, 'suspect')])
  ).map((answers) => answers.state);
  if (reference == null || suspect == null) return null;
  const keys = [...reference.pages.keys()].filter(
    (key) => reference.pages.get(key) !== suspect.pages.get(key),
  );
  const shown = keys.slice(0, PAGES_SHOWN).map(pageOfKey);
  let pages: PageDifference[] = [];
  if (shown.length > 0) {
    const probes: Probe[] = [{ verb: 'pages', point, pages: shown }];
    const [wanted, got] = await Promise.all([look(probes, 'reference'), look(probes, 'suspect')]);
    pages = wanted.contents.flatMap((page, index) => {
      const other = got.contents[index];
      return other === undefined ? [] : pageDifference(page, other);
    });
  }
  return {
    at: reference.at,
    registers: reference.registers,
    registersDifferent: registersDifferent(reference, suspect),
    sections: sectionsDifferent(reference, suspect),
    pagesDifferent: keys.length,
    pages,
  };
}

function registersDifferent(reference: StateAnswer, suspect: StateAnswer): LineDifference[] {
  return reference.registers.flatMap((expected, index) => {
    const actual = suspect.registers[index] ?? '';
    return expected === actual ? [] : { expected, actual };
  });
}

function sectionsDifferent(reference: StateAnswer, suspect: StateAnswer): SectionDifference[] {
  return [...reference.sections].flatMap(([section, wanted]) => {
    const expected = Buffer.from(wanted, 'hex');
    const actual = Buffer.from(suspect.sections.get(section) ?? '', 'hex');
    if (expected.equals(actual)) return [];
    const offset = expected.findIndex((byte, place) => byte !== actual[place]);
    const first = offset < 0 ? expected.length : offset;
    const from = first - (first % 8);
    return {
      section,
      offset: first,
      bytes: expected.length,
      expected: expected.subarray(from, from + 8).toString('hex'),
      actual: actual.subarray(from, from + 8).toString('hex'),
    };
  });
}

export function pageDifference(expected: PageAnswer, actual: PageAnswer): PageDifference {
  const rows: ByteRun[] = [];
  let bytesDifferent = 0;
  for (let row = 0; row < expected.bytes.length; row += ROW) {
    const wanted = expected.bytes.subarray(row, row + ROW);
    const got = actual.bytes.subarray(row, row + ROW);
    if (wanted.equals(got)) continue;
    for (let at = 0; at < ROW; at += 1) if (wanted[at] !== got[at]) bytesDifferent += 1;
    if (rows.length === ROWS_SHOWN) continue;
    const address = (expected.gpa ?? expected.offset) + BigInt(row);
    rows.push({ address, expected: wanted.toString('hex'), actual: got.toString('hex') });
  }
  const { block, offset, gpa } = expected;
  return { block, offset, gpa, bytesDifferent, rows };
}
