// SPDX-License-Identifier: Apache-2.0
/** The page: reads its data, builds itself, and follows mouse and keyboard. */
import { AXES, type Axis, type PageHead } from '../format.ts';
import { binSums, gridOf } from './bins.ts';
import { type Data, decode, extent, placeAt } from './data.ts';
import { draw, type Layout, plotPx, svg } from './draw.ts';
import { buildPage, type Page } from './layout.ts';
import { type View, viewOf } from './panels.ts';
import { readoutAt } from './readout.ts';
import { AXIS_NAMES, position, span } from './scale.ts';

/** Pixels for each bin, at least. */
const BIN_PX = 3;
/** How near the cursor a marker is "at" it. */
const REACH_PX = 4;
const ZOOM_STEP = 2;
const PAN_STEP = 0.25;
/** A drag shorter than this is a click. */
const DRAG_PX = 4;

class Timeline {
  readonly #data: Data;
  readonly #page: Page;
  readonly #hidden = new Set<number>();
  #axis: Axis = 'vtimeNs';
  #from: number;
  #to: number;
  #view: View;
  #layout: Layout;
  /** Where the cursor is, on the axis. */
  #cursor: number | null = null;
  #pinned = false;
  /** Where a drag began, in pixels, and in which strip. */
  #drag: { readonly px: number; readonly strip: 'plots' | 'overview' } | null = null;
  #frame = 0;

  constructor(data: Data, page: Page) {
    this.#data = data;
    this.#page = page;
    [this.#from, this.#to] = extent(data, this.#axis);
    [this.#view, this.#layout] = this.#draw();
    this.#listen();
  }

  /** Shows [from, to] of the axis, as far as there is something. */
  show(from: number, to: number): void {
    const [first, last] = extent(this.#data, this.#axis);
    const width = Math.min(last - first, Math.max(to - from, 10));
    this.#from = Math.min(Math.max(from, first), last - width);
    this.#to = this.#from + width;
    this.#later();
  }

  zoom(factor: number, around = this.#cursor ?? (this.#from + this.#to) / 2): void {
    const center = Math.min(this.#to, Math.max(this.#from, around));
    this.show(center - (center - this.#from) / factor, center + (this.#to - center) / factor);
  }

  pan(share: number): void {
    const by = share * (this.#to - this.#from);
    this.show(this.#from + by, this.#to + by);
  }

  reset(): void {
    this.show(...extent(this.#data, this.#axis));
  }

  /** The same part of the log on another axis. */
  setAxis(axis: Axis): void {
    const { [axis]: from } = placeAt(this.#data, this.#axis, this.#from);
    const { [axis]: to } = placeAt(this.#data, this.#axis, this.#to);
    const [first, last] = extent(this.#data, this.#axis);
    const isAll = this.#from <= first && this.#to >= last;
    if (this.#cursor !== null) this.#cursor = placeAt(this.#data, this.#axis, this.#cursor)[axis];
    this.#axis = axis;
    if (isAll) this.reset();
    else this.show(from, to);
  }

  #later(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      [this.#view, this.#layout] = this.#draw();
      this.#showCursor();
    });
  }

  #draw(): [View, Layout] {
    const page = this.#page;
    const widthPx = Math.max(320, Math.floor(page.holder.clientWidth));
    const bins = Math.floor(plotPx(widthPx) / BIN_PX);
    const range = { axis: this.#axis, from: this.#from, to: this.#to };
    const view = viewOf(this.#data, gridOf(this.#axis, this.#from, this.#to, bins), this.#hidden);
    const all = gridOf(this.#axis, ...extent(this.#data, this.#axis), bins);
    const values = new Float64Array(all.count);
    for (const kind of this.#data.kinds) {
      for (const [bin, value] of binSums(this.#data, `kind:${kind}`, all).entries()) {
        values[bin] = (values[bin] ?? 0) + value;
      }
    }
    const layout = draw(page.plots, this.#data, view, { grid: all, values }, range, widthPx);
    const step = (this.#to - this.#from) / 1000;
    page.range.textContent =
      `${AXIS_NAMES[this.#axis]} ${position(this.#axis, this.#from, step)} to ` +
      `${position(this.#axis, this.#to, step)} (${span(this.#axis, this.#to - this.#from)})`;
    page.range.dataset.from = String(this.#from);
    page.range.dataset.to = String(this.#to);
    for (const axis of AXES) {
      page.axisButtons[axis].setAttribute('aria-pressed', String(axis === this.#axis));
    }
    page.plots.append(svg('path', { id: 'cursor', d: '' }), svg('rect', { id: 'selection' }));
    return [view, layout];
  }

  #showCursor(): void {
    const line = document.getElementById('cursor');
    const { heightPx, overviewPx } = this.#layout;
    const x = this.#cursor;
    const isSeen = x !== null && x >= this.#from && x <= this.#to;
    line?.setAttribute(
      'd',
      isSeen ? `M${this.#layout.toPx(x)} ${overviewPx + 4}V${heightPx - 40}` : '',
    );
    line?.setAttribute('class', this.#pinned ? 'pinned' : '');
    if (x === null) return;
    const reach = this.#layout.fromPx(REACH_PX) - this.#layout.fromPx(0);
    this.#page.showReadout(readoutAt(this.#data, this.#view, x, reach), this.#pinned);
  }

  #listen(): void {
    const { plots, buttons, axisButtons, legend, holder } = this.#page;
    for (const axis of AXES) axisButtons[axis].addEventListener('click', () => this.setAxis(axis));
    buttons.in.addEventListener('click', () => this.zoom(ZOOM_STEP));
    buttons.out.addEventListener('click', () => this.zoom(1 / ZOOM_STEP));
    buttons.left.addEventListener('click', () => this.pan(-PAN_STEP));
    buttons.right.addEventListener('click', () => this.pan(PAN_STEP));
    buttons.reset.addEventListener('click', () => this.reset());
    for (const [kind, button] of legend) {
      button.addEventListener('click', () => {
        if (!this.#hidden.delete(kind)) this.#hidden.add(kind);
        button.setAttribute('aria-pressed', String(!this.#hidden.has(kind)));
        this.#later();
      });
    }
    plots.addEventListener('pointerdown', (event) => this.#pressed(event));
    plots.addEventListener('pointermove', (event) => this.#moved(event));
    plots.addEventListener('pointerup', (event) => this.#released(event));
    plots.addEventListener('dblclick', () => this.zoom(1 / ZOOM_STEP));
    plots.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    document.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.#later()).observe(holder);
  }

  /** Pixels of the picture; it may be shown smaller, as when printed. */
  #px(event: MouseEvent): { x: number; y: number } {
    const box = this.#page.plots.getBoundingClientRect();
    const scale = this.#layout.widthPx / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  #pressed(event: PointerEvent): void {
    if (event.button !== 0) return;
    const { x, y } = this.#px(event);
    this.#drag = { px: x, strip: y <= this.#layout.overviewPx ? 'overview' : 'plots' };
    this.#page.plots.setPointerCapture(event.pointerId);
    if (this.#drag.strip === 'overview') this.#centre(x);
  }

  #moved(event: PointerEvent): void {
    const { x } = this.#px(event);
    if (this.#drag?.strip === 'overview') {
      this.#centre(x);
      return;
    }
    if (this.#drag !== null) this.#select(this.#drag.px, x);
    if (this.#pinned) return;
    this.#cursor = Math.min(this.#to, Math.max(this.#from, this.#layout.fromPx(x)));
    this.#showCursor();
  }

  #released(event: PointerEvent): void {
    const drag = this.#drag;
    this.#drag = null;
    this.#select(0, 0);
    if (drag?.strip !== 'plots') return;
    const { x } = this.#px(event);
    if (Math.abs(x - drag.px) >= DRAG_PX) {
      const [from = 0, to = 0] = [drag.px, x].sort((a, b) => a - b).map(this.#layout.fromPx);
      this.show(from, to);
      return;
    }
    this.#pinned = !this.#pinned;
    this.#cursor = this.#layout.fromPx(x);
    this.#showCursor();
  }

  #centre(px: number): void {
    const center = this.#layout.overviewFromPx(px);
    const half = (this.#to - this.#from) / 2;
    this.show(center - half, center + half);
  }

  #select(a: number, b: number): void {
    const box = document.getElementById('selection');
    const { overviewPx, heightPx } = this.#layout;
    box?.setAttribute('x', String(Math.min(a, b)));
    box?.setAttribute('y', String(overviewPx + 4));
    box?.setAttribute('width', String(Math.abs(a - b)));
    box?.setAttribute('height', String(heightPx - 40 - overviewPx - 4));
  }

  /** With Ctrl (a pinch too) it zooms, with Shift it pans; else the page scrolls. */
  #wheel(event: WheelEvent): void {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(1.0015 ** -event.deltaY, this.#layout.fromPx(this.#px(event).x));
    } else if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) {
      event.preventDefault();
      this.pan(sideways / 1000);
    }
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, () => void> = {
      '+': () => this.zoom(ZOOM_STEP),
      '=': () => this.zoom(ZOOM_STEP),
      w: () => this.zoom(ZOOM_STEP),
      '-': () => this.zoom(1 / ZOOM_STEP),
      s: () => this.zoom(1 / ZOOM_STEP),
      ArrowLeft: () => this.pan(-PAN_STEP),
      a: () => this.pan(-PAN_STEP),
      ArrowRight: () => this.pan(PAN_STEP),
      d: () => this.pan(PAN_STEP),
      '0': () => this.reset(),
      Home: () => this.reset(),
      ',': () => this.#step(-1),
      '.': () => this.#step(1),
      Escape: () => this.#unpin(),
      '1': () => this.setAxis('vtimeNs'),
      '2': () => this.setAxis('hostNs'),
      '3': () => this.setAxis('icount'),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  /** The cursor to the next bin: hovering, by keyboard. */
  #step(bins: number): void {
    const { width } = this.#view.grid;
    const at = (this.#cursor ?? (this.#from + this.#to) / 2) + bins * width;
    this.#cursor = Math.min(this.#to, Math.max(this.#from, at));
    this.#pinned = true;
    this.#showCursor();
  }

  #unpin(): void {
    this.#pinned = false;
    this.#showCursor();
  }
}

async function inflate(base64: string): Promise<Uint8Array> {
  const bytes = Uint8Array.from(atob(base64.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function textOf(id: string): string {
  return document.getElementById(id)?.textContent ?? '';
}

const head = JSON.parse(textOf('head')) as PageHead;
inflate(textOf('blob')).then(
  (blob) => {
    const data = decode(head, blob);
    new Timeline(data, buildPage(data));
    document.documentElement.dataset.ready = 'true';
  },
  (error: unknown) => {
    document
      .querySelector('main p')
      ?.replaceChildren(`This page cannot be shown: ${String(error)}`);
  },
);
