// SPDX-License-Identifier: Apache-2.0
/** Pieces of SVG, and how wide a text will be, so that what is drawn does not overlap. */

/** What is drawn, from 0, 0. */
export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly body: string;
}

/**
 * Okabe and Ito's, and three of Tol's muted ones: told apart by everyone, and as grey in print by
 * their order.
 */
export const COLOURS = [
  '#0072b2',
  '#e69f00',
  '#009e73',
  '#d55e00',
  '#56b4e9',
  '#cc79a7',
  '#7a6a00',
  '#444444',
  '#882255',
  '#aa4499',
  '#332288',
] as const;
export const INK = '#1a1a1a';
export const FAINT = '#5c5c5c';
export const GRID = '#dddddd';
/** What a paper says; ours is in colour. */
export const PAPER = '#9a9a9a';
/** The PNG has the first; the others are no wider. */
export const FONT = 'DejaVu Sans, Verdana, Helvetica, Arial, sans-serif';
export const SIZE = 12;

/** Advance widths of DejaVu Sans from space to tilde, in thousandths of the size. */
const WIDTHS = [
  318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
  636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
  575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
  611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
  278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];
const OTHERS: Readonly<Record<string, number>> = { '×': 838, '−': 838, '…': 1000, '→': 838 };
const BOLD = 1.13;

export interface TextStyle {
  readonly size?: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly bold?: boolean;
  readonly fill?: string;
  /** Degrees, about its own point. */
  readonly rotate?: number;
  readonly italic?: boolean;
}

export function textWidth(content: string, size = SIZE, bold = false): number {
  let thousandths = 0;
  for (const character of content) {
    thousandths += WIDTHS[character.charCodeAt(0) - 32] ?? OTHERS[character] ?? 640;
  }
  return (thousandths / 1000) * size * (bold ? BOLD : 1);
}

/** `y` is its base line. */
export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = SIZE, anchor = 'start', bold = false, fill = INK, rotate, italic } = style;
  const turned = rotate === undefined ? '' : ` transform="rotate(${rotate} ${n(x)} ${n(y)})"`;
  return (
    `<text x="${n(x)}" y="${n(y)}" font-size="${size}" fill="${fill}" text-anchor="${anchor}"` +
    `${bold ? ' font-weight="bold"' : ''}${italic === true ? ' font-style="italic"' : ''}` +
    `${turned}>${escapeXml(content)}</text>`
  );
}

export interface LineStyle {
  readonly stroke?: string;
  readonly width?: number;
  readonly dash?: string;
}

export function line(
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  { stroke = INK, width = 1, dash }: LineStyle = {},
): string {
  const dashed = dash === undefined ? '' : ` stroke-dasharray="${dash}"`;
  return (
    `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" stroke="${stroke}" ` +
    `stroke-width="${width}"${dashed}/>`
  );
}

export function rect(
  x: number,
  y: number,
  width: number,
  height: number,
  fill: string,
  stroke?: string,
): string {
  const edge = stroke === undefined ? '' : ` stroke="${stroke}" stroke-width="0.8"`;
  return `<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" fill="${fill}"${edge}/>`;
}

export function polyline(
  points: readonly (readonly [number, number])[],
  { stroke = INK, width = 1.6, dash }: LineStyle = {},
): string {
  const at = points.map(([x, y]) => `${n(x)},${n(y)}`).join(' ');
  const dashed = dash === undefined ? '' : ` stroke-dasharray="${dash}"`;
  return `<polyline points="${at}" fill="none" stroke="${stroke}" stroke-width="${width}"${dashed}/>`;
}

/** One of four shapes, so that a series is told by more than its colour. */
export function marker(x: number, y: number, at: number, fill: string, r = 3.6): string {
  switch (at % 4) {
    case 0:
      return `<circle cx="${n(x)}" cy="${n(y)}" r="${r}" fill="${fill}"/>`;
    case 1:
      return rect(x - r, y - r, 2 * r, 2 * r, fill);
    case 2:
      return `<path d="M${n(x)} ${n(y - r * 1.25)}L${n(x + r * 1.2)} ${n(y + r)}H${n(x - r * 1.2)}Z" fill="${fill}"/>`;
    default:
      return `<path d="M${n(x)} ${n(y - r * 1.35)}L${n(x + r * 1.35)} ${n(y)}L${n(x)} ${n(y + r * 1.35)}L${n(x - r * 1.35)} ${n(y)}Z" fill="${fill}"/>`;
  }
}

/** A vertical or horizontal error bar with its ends. */
export function errorBar(
  from: readonly [number, number],
  to: readonly [number, number],
  stroke = INK,
): string {
  const [x1, y1] = from;
  const [x2, y2] = to;
  const [dx, dy] = x1 === x2 ? [3, 0] : [0, 3];
  return [
    line(x1, y1, x2, y2, { stroke }),
    line(x1 - dx, y1 - dy, x1 + dx, y1 + dy, { stroke }),
    line(x2 - dx, y2 - dy, x2 + dx, y2 + dy, { stroke }),
  ].join('');
}

export function translate(x: number, y: number, body: string): string {
  return `<g transform="translate(${n(x)} ${n(y)})">${body}</g>`;
}

/** Below each other, left-aligned. */
export function stacked(drawings: readonly Drawing[], gap = 22): Drawing {
  let y = 0;
  const parts: string[] = [];
  for (const { height, body } of drawings) {
    parts.push(translate(0, y, body));
    y += height + gap;
  }
  const width = Math.max(0, ...drawings.map((drawing) => drawing.width));
  return { width, height: Math.max(0, y - gap), body: parts.join('\n') };
}

/** Next to each other, from the top. */
export function beside(drawings: readonly Drawing[], gap = 26): Drawing {
  let x = 0;
  const parts: string[] = [];
  for (const { width, body } of drawings) {
    parts.push(translate(x, 0, body));
    x += width + gap;
  }
  const height = Math.max(0, ...drawings.map((drawing) => drawing.height));
  return { width: Math.max(0, x - gap), height, body: parts.join('\n') };
}

export function heading(title: string): Drawing {
  const width = textWidth(title, 14, true);
  return { width, height: 16, body: text(0, 13, title, { size: 14, bold: true }) };
}

/** Lines no wider than `width`, broken at spaces. */
export function wrapped(content: string, width: number, size = SIZE, bold = false): string[] {
  const lines: string[] = [];
  let at = '';
  for (const word of content.split(' ')) {
    const longer = at === '' ? word : `${at} ${word}`;
    if (at !== '' && textWidth(longer, size, bold) > width) {
      lines.push(at);
      at = word;
    } else at = longer;
  }
  return at === '' ? lines : [...lines, at];
}

export function paragraph(content: string, width: number, style: TextStyle = {}): Drawing {
  const size = style.size ?? SIZE;
  const leading = size * 1.4;
  const lines = wrapped(content, width, size, style.bold);
  const body = lines.map((words, at) => text(0, size + at * leading, words, style)).join('\n');
  return { width, height: lines.length * leading, body };
}

/** The whole file: a title, the drawing, what there is to say about it. */
export function svgFile(
  title: string,
  source: string,
  drawing: Drawing,
  notes: readonly string[],
): string {
  const width = Math.max(drawing.width, 640);
  const all = stacked(
    [
      paragraph(title, width, { size: 17, bold: true }),
      paragraph(source, width, { size: 11, fill: FAINT }),
      drawing,
      ...notes.map((note) => paragraph(note, width, { size: 11, fill: FAINT })),
    ],
    10,
  );
  const pad = 18;
  const [w, h] = [Math.ceil(width + 2 * pad), Math.ceil(all.height + 2 * pad)];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" ` +
      `font-family="${FONT}" role="img" aria-label="${escapeXml(title)}">`,
    rect(0, 0, w, h, '#ffffff'),
    translate(pad, pad, all.body),
    '</svg>',
    '',
  ].join('\n');
}

export function escapeXml(content: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return content.replace(/[&<>"]/g, (character) => entities[character] ?? '');
}

/** Two decimals are finer than any printer. */
export function n(value: number): string {
  return String(Math.round(value * 100) / 100);
}
