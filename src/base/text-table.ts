// SPDX-License-Identifier: Apache-2.0
/** Tables for people; colour is the cells' own (colour.ts), so that a file has no escape codes. */
import Table from 'cli-table3';

export type TableCell = string | { readonly content: string; readonly hAlign: 'right' };

export interface TextTableOptions {
  readonly head: string[];
  /** No line between rows. */
  readonly compact?: boolean;
  readonly colWidths?: number[];
  readonly wordWrap?: boolean;
}

export interface TextTable {
  push(row: TableCell[]): number;
  toString(): string;
}

export function textTable({ compact = false, ...options }: TextTableOptions): TextTable {
  // cli-table3 has colours of its own, red heads and grey lines, everywhere.
  return new Table({ ...options, style: { head: [], border: [], compact } });
}

export function rightAligned(content: string): TableCell {
  return { content, hAlign: 'right' };
}
