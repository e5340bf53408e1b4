// SPDX-License-Identifier: Apache-2.0
/** A table as a drawing: columns as wide as what is in them, long texts broken. */
import { type Drawing, FAINT, line, rect, SIZE, text, textWidth, wrapped } from './svg.ts';

export interface TableColumn {
  readonly title: string;
  readonly align?: 'left' | 'right';
  readonly widthMax?: number;
}

export interface TableRow {
  readonly cells: readonly string[];
  /** What a paper says: on grey. */
  readonly paper?: boolean;
  /** A heading over the rows that follow; only its first cell is shown. */
  readonly heading?: boolean;
}

const PAD = 8;
const LEADING = 15;
const CELL_SIZE = 11;

export function tableDrawing(columns: readonly TableColumn[], rows: readonly TableRow[]): Drawing {
  const broken = (cell: string, column: TableColumn): string[] =>
    wrapped(cell, column.widthMax ?? 220, CELL_SIZE);
  const heads = columns.map((column) =>
    wrapped(column.title, column.widthMax ?? 220, CELL_SIZE, true),
  );
  const widths = columns.map((column, at) => {
    const lines = rows.flatMap(({ cells, heading }) =>
      heading === true ? [] : broken(cells[at] ?? '', column),
    );
    const widest = Math.max(
      0,
      ...lines.map((words) => textWidth(words, CELL_SIZE)),
      ...(heads[at] ?? []).map((words) => textWidth(words, CELL_SIZE, true)),
    );
    return Math.ceil(widest) + 2 * PAD;
  });
  const width = widths.reduce((sum, each) => sum + each, 0);
  const parts: string[] = [];
  const shades: string[] = [];
  const put = (lines: readonly string[], at: number, top: number, bold: boolean): void => {
    const left = widths.slice(0, at).reduce((sum, each) => sum + each, 0);
    const isRight = columns[at]?.align === 'right';
    const x = isRight ? left + (widths[at] ?? 0) - PAD : left + PAD;
    lines.forEach((words, index) => {
      const style = { size: CELL_SIZE, bold, anchor: isRight ? 'end' : 'start' } as const;
      parts.push(text(x, top + CELL_SIZE + 3 + index * LEADING, words, style));
    });
  };
  let y = 0;
  const headHeight = Math.max(1, ...heads.map(({ length }) => length)) * LEADING + 6;
  heads.forEach((lines, at) => {
    put(lines, at, y, true);
  });
  y += headHeight;
  parts.push(line(0, y, width, y));
  for (const { cells, paper, heading } of rows) {
    if (heading === true) {
      parts.push(text(PAD, y + SIZE + 6, cells[0] ?? '', { size: SIZE, bold: true }));
      y += LEADING + 10;
      continue;
    }
    const lines = columns.map((column, at) => broken(cells[at] ?? '', column));
    const height = Math.max(1, ...lines.map(({ length }) => length)) * LEADING + 5;
    if (paper === true) shades.push(rect(0, y, width, height, '#eeeeee'));
    lines.forEach((words, at) => {
      put(words, at, y, false);
    });
    y += height;
    parts.push(line(0, y, width, y, { stroke: '#cccccc', width: 0.6 }));
  }
  parts.push(line(0, y, width, y, { stroke: FAINT }));
  return { width, height: y + 2, body: [...shades, ...parts].join('\n') };
}
