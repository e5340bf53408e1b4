// SPDX-License-Identifier: Apache-2.0
/** The panels as SVG, below each other over one axis. */
import type { Axis, Gap, Marker } from '../format.ts';
import type { Grid } from './bins.ts';
import { type Data, extent } from './data.ts';
import type { Panel, Series, View } from './panels.ts';
import { AXIS_NAMES, tickLabel, ticks } from './scale.ts';

const LEFT = 62;
const RIGHT = 10;
const OVERVIEW_PX = 30;
const TITLE_PX = 18;
const GAP_PX = 10;
const LANES_PX = 44;
const AXIS_PX = 40;
const LABEL_PX = 110;

/** Where things are in the picture: x in pixels from the axis, and back. */
export interface Layout {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly axis: Axis;
  readonly from: number;
  readonly to: number;
  /** The bottom of the strip that shows the whole log. */
  readonly overviewPx: number;
  toPx(x: number): number;
  fromPx(px: number): number;
  overviewFromPx(px: number): number;
}

type Attributes = Readonly<Record<string, string | number>>;

export function svg(name: string, attributes: Attributes = {}, ...children: (Node | string)[]) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** How many pixels of `widthPx` the plots have. */
export function plotPx(widthPx: number): number {
  return widthPx - LEFT - RIGHT;
}

/** Replaces what is in `root`. */
export function draw(
  root: SVGElement,
  data: Data,
  view: View,
  overview: { readonly grid: Grid; readonly values: Float64Array },
  range: { readonly axis: Axis; readonly from: number; readonly to: number },
  widthPx: number,
): Layout {
  const panelsPx = view.panels.reduce((sum, panel) => sum + TITLE_PX + panel.heightPx + GAP_PX, 0);
  const top = OVERVIEW_PX + GAP_PX;
  const heightPx = top + panelsPx + TITLE_PX + LANES_PX + AXIS_PX;
  const { axis, from, to } = range;
  const [first, last] = extent(data, axis);
  const scale = plotPx(widthPx) / (to - from);
  const whole = plotPx(widthPx) / (last - first);
  const layout: Layout = {
    widthPx,
    heightPx,
    axis,
    from,
    to,
    overviewPx: OVERVIEW_PX,
    toPx: (x) => LEFT + (x - from) * scale,
    fromPx: (px) => from + (px - LEFT) / scale,
    overviewFromPx: (px) => first + (px - LEFT) / whole,
  };
  root.setAttribute('viewBox', `0 0 ${widthPx} ${heightPx}`);
  root.setAttribute('height', String(heightPx));
  const bottom = heightPx - AXIS_PX;
  const parts: Node[] = [
    patterns(data.kinds, bottom, widthPx),
    overviewStrip(overview, (x) => LEFT + (x - first) * whole, range),
  ];
  const plots = svg('g', { 'clip-path': 'url(#plots)' });
  const labels = svg('g');
  timeAxis(layout, top, bottom, labels, plots);
  let y = top;
  for (const panel of view.panels) {
    y += TITLE_PX;
    drawPanel(panel, y, view.grid, layout, labels, plots);
    y += panel.heightPx + GAP_PX;
  }
  y += TITLE_PX;
  labels.append(title('Checkpoints, events, digests', '', y));
  lanes(data.head.markers, y, layout, labels, plots);
  for (const gap of data.head.gaps) plots.append(gapMark(gap, top, bottom, layout));
  parts.push(plots, labels);
  root.replaceChildren(...parts);
  return layout;
}

function drawPanel(
  panel: Panel,
  top: number,
  grid: Grid,
  layout: Layout,
  labels: Node,
  plots: Node,
): void {
  const { heightPx, series, shape, format } = panel;
  const bottom = top + heightPx;
  const largest = panel.max ?? stackedMax(series, grid, layout);
  const marks = largest > 0 ? ticks(0, largest, heightPx > 100 ? 4 : 2) : [0];
  const scale = heightPx / (largest > 0 ? largest * (panel.max === undefined ? 1.05 : 1) : 1);
  labels.appendChild(title(panel.title, panel.unit, top));
  for (const mark of marks) {
    const y = bottom - mark * scale;
    plots.appendChild(svg('path', { class: 'grid', d: `M${LEFT} ${y}H${layout.widthPx - RIGHT}` }));
    labels.appendChild(
      svg('text', { class: 'tick', x: LEFT - 6, y: y + 4, 'text-anchor': 'end' }, format(mark)),
    );
  }
  const box = { x: LEFT, y: top, width: plotPx(layout.widthPx), height: heightPx };
  labels.appendChild(svg('rect', { class: 'frame', ...box }));
  const group = svg('g', { 'data-panel': panel.id });
  const base = new Float64Array(grid.count);
  for (const { name, look, values } of series) {
    const d =
      shape === 'bars'
        ? bars(values, base, grid, layout, bottom, scale)
        : area(values, grid, layout, bottom, scale);
    const path = svg('path', { class: `mark ${look}`, d }, svg('title', {}, name));
    if (/^kind-/.test(look)) path.setAttribute('fill', `url(#p-${look})`);
    group.appendChild(path);
  }
  plots.appendChild(group);
  if (largest === 0) {
    const x = LEFT + plotPx(layout.widthPx) / 2;
    const y = top + heightPx / 2 + 4;
    labels.appendChild(svg('text', { class: 'none', x, y, 'text-anchor': 'middle' }, 'none here'));
  }
}

/** Largest of the bins that can be seen: the first and the last may be cut. */
function stackedMax(series: readonly Series[], grid: Grid, { from, to }: Layout): number {
  let largest = 0;
  for (let bin = 0; bin < grid.count; bin += 1) {
    const low = grid.from + bin * grid.width;
    if (low + grid.width < from || low > to) continue;
    let sum = 0;
    for (const { values } of series) sum += values[bin] ?? 0;
    largest = Math.max(largest, sum);
  }
  return largest;
}

/** Adds `values` to `base`, on which the next series stands. */
function bars(
  values: Float64Array,
  base: Float64Array,
  grid: Grid,
  layout: Layout,
  bottom: number,
  scale: number,
): string {
  const parts: string[] = [];
  const width = layout.toPx(grid.from + grid.width) - layout.toPx(grid.from);
  // A gap between bars where there is room for one.
  const inner = Math.max(0.6, width > 4 ? width - 1 : width);
  for (let bin = 0; bin < grid.count; bin += 1) {
    const value = values[bin] ?? 0;
    if (value <= 0) continue;
    const low = base[bin] ?? 0;
    base[bin] = low + value;
    const x = layout.toPx(grid.from + bin * grid.width);
    // One record among thousands must still be seen.
    const height = Math.max(value * scale, 1);
    const y = bottom - low * scale - height;
    parts.push(
      `M${x.toFixed(1)} ${y.toFixed(1)}h${inner.toFixed(1)}v${height.toFixed(1)}h-${inner.toFixed(1)}z`,
    );
  }
  return parts.join('');
}

function area(
  values: Float64Array,
  grid: Grid,
  layout: Layout,
  bottom: number,
  scale: number,
): string {
  const parts = [`M${layout.toPx(grid.from).toFixed(1)} ${bottom}`];
  for (let bin = 0; bin < grid.count; bin += 1) {
    const y = bottom - (values[bin] ?? 0) * scale;
    const x = layout.toPx(grid.from + (bin + 1) * grid.width);
    parts.push(`V${y.toFixed(1)}H${x.toFixed(1)}`);
  }
  return `${parts.join('')}V${bottom}Z`;
}

function overviewStrip(
  { grid, values }: { readonly grid: Grid; readonly values: Float64Array },
  toPx: (x: number) => number,
  range: { readonly from: number; readonly to: number },
): Node {
  const largest = Math.max(...values, 1);
  const parts = [`M${toPx(grid.from).toFixed(1)} ${OVERVIEW_PX}`];
  for (let bin = 0; bin < grid.count; bin += 1) {
    // Square root: bursts are hundreds of times higher than the rest.
    const share = Math.sqrt((values[bin] ?? 0) / largest);
    const x = toPx(grid.from + (bin + 1) * grid.width);
    parts.push(`V${(OVERVIEW_PX - 2 - share * (OVERVIEW_PX - 6)).toFixed(1)}H${x.toFixed(1)}`);
  }
  const x = toPx(range.from);
  const width = Math.max(2, toPx(range.to) - x);
  return svg(
    'g',
    { class: 'overview' },
    svg('path', { class: 'all', d: `${parts.join('')}V${OVERVIEW_PX}Z` }),
    svg(
      'text',
      { class: 'tick', x: LEFT - 6, y: OVERVIEW_PX / 2 + 4, 'text-anchor': 'end' },
      'all',
    ),
    svg('rect', { class: 'window', x, y: 0.5, width, height: OVERVIEW_PX - 1 }),
  );
}

function timeAxis(layout: Layout, top: number, bottom: number, labels: Node, plots: Node): void {
  const { axis, from, to, widthPx } = layout;
  const wanted = Math.max(2, Math.floor(plotPx(widthPx) / LABEL_PX));
  const marks = ticks(from, to, wanted);
  const step = marks.length > 1 ? (marks[1] ?? 0) - (marks[0] ?? 0) : to - from;
  for (const mark of marks) {
    const x = layout.toPx(mark);
    plots.appendChild(svg('path', { class: 'grid', d: `M${x} ${top}V${bottom}` }));
    const text = tickLabel(axis, mark, step);
    labels.appendChild(
      svg('text', { class: 'tick', x, y: bottom + 16, 'text-anchor': 'middle' }, text),
    );
  }
  const unit = axis === 'icount' ? 'since power-on' : 'in s since power-on';
  const name = svg(
    'text',
    { class: 'axis', x: LEFT + plotPx(widthPx) / 2, y: bottom + 34, 'text-anchor': 'middle' },
    `${AXIS_NAMES[axis]} ${unit}`,
  );
  labels.appendChild(name);
}

function title(text: string, unit: string, y: number): Node {
  return svg(
    'text',
    { class: 'title', x: LEFT, y: y - 5 },
    text,
    svg('tspan', { class: 'unit', dx: 8 }, unit),
  );
}

const LANE_NAMES = { checkpoint: 'checkp.', event: 'events', digest: 'digests' } as const;

/** One lane each: diamonds, triangles with their words, ticks. Not two on the same pixel. */
function lanes(
  markers: readonly Marker[],
  top: number,
  layout: Layout,
  labels: Node,
  plots: Node,
): void {
  const shapes = {
    checkpoint: { y: top + 7, d: 'm0 -6l5 6l-5 6l-5 -6z' },
    event: { y: top + 22, d: 'm0 -6l6 10h-12z' },
    digest: { y: top + 37, d: 'm-0.75 -5h1.5v10h-1.5z' },
  };
  for (const [name, { y }] of Object.entries(shapes)) {
    const at = { class: 'tick', x: LEFT - 6, y: y + 4, 'text-anchor': 'end' };
    labels.appendChild(svg('text', at, LANE_NAMES[name as Marker['what']]));
  }
  const taken = new Set<string>();
  let labelEndPx = 0;
  for (const { what, text, ...place } of [...markers].sort((a, b) => a.icount - b.icount)) {
    const at = place[layout.axis];
    if (at < layout.from || at > layout.to) continue;
    const x = Math.round(layout.toPx(at));
    if (taken.has(`${what} ${x}`)) continue;
    taken.add(`${what} ${x}`);
    const { y, d } = shapes[what];
    const mark = svg(
      'path',
      { class: `marker ${what}`, d: `M${x} ${y}${d}` },
      svg('title', {}, text),
    );
    plots.appendChild(mark);
    const word = text.split(':')[0] ?? '';
    const isRight = x + 10 + word.length * 7 > layout.widthPx - RIGHT;
    if (what !== 'event' || x < labelEndPx) continue;
    labelEndPx = x + 12 + word.length * 7;
    const anchor = { x: isRight ? x - 9 : x + 9, 'text-anchor': isRight ? 'end' : 'start' };
    labels.appendChild(svg('text', { class: 'tick', y: y + 4, ...anchor }, word));
  }
}

function gapMark(gap: Gap, top: number, bottom: number, layout: Layout): Node {
  const x = layout.toPx(gap.from[layout.axis]);
  const width = Math.max(3, layout.toPx(gap.to[layout.axis]) - x);
  const box = { x, y: top, width, height: bottom - top };
  return svg('rect', { class: 'gap', ...box }, svg('title', {}, `not readable: ${gap.reason}`));
}

/** Colour and, for those who do not see it, a pattern for each kind. */
const HATCHES: Readonly<Record<number, string>> = {
  2: 'M2 2h1v1h-1zM5 5h1v1h-1z',
  3: 'M-1 7L7 -1M3 7L7 3M-1 3L3 -1',
  4: 'M0 2H6M0 5H6',
  5: 'M0 0L6 6M6 0L0 6',
  6: 'M0 0L6 6M6 0L0 6',
  8: 'M2 0V6M5 0V6',
  11: 'M-1 -1L7 7M-1 3L3 7M3 -1L7 3',
};

export function pattern(kind: number, prefix = 'p'): SVGElement {
  return svg(
    'pattern',
    { id: `${prefix}-kind-${kind}`, width: 6, height: 6, patternUnits: 'userSpaceOnUse' },
    svg('rect', { class: `fill kind-${kind}`, width: 6, height: 6 }),
    svg('path', { class: 'hatch', d: HATCHES[kind] ?? '' }),
  );
}

function patterns(kinds: readonly number[], bottom: number, widthPx: number): Node {
  const clip = svg('clipPath', { id: 'plots' });
  clip.append(svg('rect', { x: LEFT, y: 0, width: plotPx(widthPx), height: bottom }));
  const hatched = svg(
    'pattern',
    { id: 'gap', width: 8, height: 8, patternUnits: 'userSpaceOnUse' },
    svg('path', { class: 'gap-hatch', d: 'M-2 10L10 -2M-2 2L2 -2M6 10L10 6' }),
  );
  return svg('defs', {}, clip, hatched, ...kinds.map((kind) => pattern(kind)));
}
