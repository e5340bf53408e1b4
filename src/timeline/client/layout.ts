// SPDX-License-Identifier: Apache-2.0
/** The page around the plots: facts, notes, buttons, legend, readout. */
import { AXES, type Axis } from '../format.ts';
import type { Data } from './data.ts';
import { pattern, svg } from './draw.ts';
import { inputKinds } from './panels.ts';
import type { Readout } from './readout.ts';
import { AXIS_NAMES, count } from './scale.ts';

const PLOTS_LABEL = 'Panels over a common axis; the readout beside them says what is at the cursor';
const HELP =
  'Drag: zoom to a range. Ctrl+wheel or + −: zoom. Shift+wheel or ← →: pan. 0: all. ' +
  'Click: pin the cursor (Esc: free it). , and .: cursor by a bin. 1 2 3: axis.';

type ButtonName = 'in' | 'out' | 'left' | 'right' | 'reset';

export interface Page {
  readonly plots: SVGElement;
  /** Gives the plots their width. */
  readonly holder: HTMLElement;
  readonly range: HTMLElement;
  readonly buttons: Readonly<Record<ButtonName, HTMLButtonElement>>;
  readonly axisButtons: Readonly<Record<Axis, HTMLButtonElement>>;
  /** Buttons by ordinal of the kind. */
  readonly legend: ReadonlyMap<number, HTMLButtonElement>;
  showReadout(readout: Readout, pinned: boolean): void;
}

type Child = Node | string;

function html<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Replaces the body's content. */
export function buildPage(data: Data): Page {
  const { head } = data;
  const buttons = {
    left: button('◀', 'pan left'),
    right: button('▶', 'pan right'),
    out: button('−', 'zoom out'),
    in: button('+', 'zoom in'),
    reset: button('all', 'show everything'),
  };
  const axisButtons = Object.fromEntries(
    AXES.map((axis) => [axis, html('button', { type: 'button' }, AXIS_NAMES[axis])]),
  ) as Record<Axis, HTMLButtonElement>;
  const range = html('output', { id: 'range', 'aria-live': 'polite' });
  const plots = svg('svg', { id: 'plots', role: 'img', 'aria-label': PLOTS_LABEL });
  const holder = html('div', { id: 'holder' }, plots);
  const { legend, node: legendNode } = buildLegend(data);
  const readout = html('dl', { id: 'readout' });
  const console = html('pre', { id: 'console', tabindex: '0', 'aria-label': 'console text' });
  const state = html('p', { class: 'state' }, 'Move over the plots.');
  const axes = AXES.map((axis) => axisButtons[axis]);
  const main = html(
    'main',
    {},
    html('h1', {}, head.title),
    factsTable(head.facts),
    ...noteList(head.notes),
    html(
      'div',
      { id: 'toolbar' },
      html('span', { role: 'group', 'aria-label': 'x axis' }, 'x axis ', ...axes),
      html('span', { role: 'group', 'aria-label': 'zoom' }, ...Object.values(buttons)),
      range,
    ),
    legendNode,
    html(
      'div',
      { id: 'columns' },
      html('section', { id: 'left' }, holder, html('p', { class: 'help' }, HELP), detail(data)),
      html(
        'aside',
        { 'aria-label': 'readout' },
        html('h2', {}, 'At the cursor'),
        state,
        readout,
        html('h2', {}, 'Console up to there'),
        console,
      ),
    ),
  );
  document.body.replaceChildren(main);
  return {
    plots,
    holder,
    range,
    buttons,
    axisButtons,
    legend,
    showReadout({ rows, console: text }, pinned) {
      state.textContent = pinned ? 'Pinned: click or Esc frees it.' : 'Click pins it.';
      readout.replaceChildren(
        ...rows.flatMap(([name, value]) => [html('dt', {}, name), html('dd', {}, value)]),
      );
      console.textContent = text === '' ? '(nothing yet)' : text;
      console.scrollTop = console.scrollHeight;
    },
  };
}

function button(text: string, label: string): HTMLButtonElement {
  return html('button', { type: 'button', title: label, 'aria-label': label }, text);
}

function factsTable(facts: ReadonlyArray<readonly [string, string]>): HTMLElement {
  return html(
    'dl',
    { id: 'facts' },
    ...facts.map(([name, value]) =>
      html(
        'div',
        value.length > 40 ? { class: 'long' } : {},
        html('dt', {}, name),
        html('dd', {}, value),
      ),
    ),
  );
}

function noteList(notes: readonly string[]): HTMLElement[] {
  return notes.map((note) =>
    html('p', { class: note.startsWith('Damaged') ? 'note bad' : 'note' }, note),
  );
}

function detail({ head }: Data): HTMLElement {
  const { pointsPerRow, markersLeftOut } = head;
  const finest =
    pointsPerRow === 1
      ? 'Every record is at its own position.'
      : `The finest detail here is ${count(pointsPerRow)} records and seals: they are spread ` +
        'evenly over the time that they took.';
  const left =
    markersLeftOut > 0 ? ` ${count(markersLeftOut)} digests or events are not drawn.` : '';
  return html('p', { class: 'help' }, finest + left);
}

/** One entry a kind, with its sum; those of stacked bars can be switched off. */
function buildLegend(data: Data): { legend: Map<number, HTMLButtonElement>; node: HTMLElement } {
  const legend = new Map<number, HTMLButtonElement>();
  const inputs = inputKinds(data);
  const outputs = data.kinds.filter((kind) => !inputs.includes(kind));
  const entries = [...inputs, ...outputs].map((kind) => {
    const sum = data.column(`kind:${kind}`).reduce((a, b) => a + b, 0);
    const swatch = svg(
      'svg',
      { class: 'swatch', width: 18, height: 12, 'aria-hidden': 'true' },
      svg('defs', {}, pattern(kind, 'l')),
      svg('rect', { width: 18, height: 12, fill: `url(#l-kind-${kind})` }),
    );
    const name = data.head.kindNames[kind] ?? `kind ${kind}`;
    const text = html('span', {}, `${name} `, html('b', {}, count(sum)));
    if (!inputs.includes(kind)) return html('span', { class: 'entry' }, swatch, text);
    const button = html(
      'button',
      { type: 'button', class: 'entry', 'aria-pressed': 'true', title: 'show or hide' },
      swatch,
      text,
    );
    legend.set(kind, button);
    return button;
  });
  return {
    legend,
    node: html('div', { id: 'legend', 'aria-label': 'records by kind' }, ...entries),
  };
}
