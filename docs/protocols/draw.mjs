// SPDX-License-Identifier: Apache-2.0
/**
 * Draws the time lines of docs/protocols.md: one SVG beside this file for each protocol.
 *
 *   node docs/protocols/draw.mjs
 *
 * Times have no unit: what matters is what waits for what.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [LEFT, RIGHT, HEIGHT] = [96, 700, 176];
const [OUTSIDE, GUEST, BACKUP] = [26, 74, 138];
const BOX = 22;
const COLOUR = {
  run: '#2f6f9f',
  wait: '#d9d9d9',
  pause: '#c0392b',
  image: '#6a994e',
  line: '#444',
};

const x = (time) => LEFT + (time * (RIGHT - LEFT)) / 100;

/** An event's arrow to the backup, the ack, and the packet that leaves with it. */
function commit({ at, got, ack, what }) {
  return [
    arrow(at, GUEST + BOX, got, BACKUP, COLOUR.line),
    label((at + got) / 2 + 1.2, (GUEST + BOX + BACKUP) / 2 + 4, what),
    arrow(got, BACKUP, ack, GUEST + BOX, COLOUR.run, '4 3'),
  ];
}

function packet({ at, leaves }) {
  const wait = `<path d="M${x(at)} ${GUEST - 5}V${GUEST - 14}H${x(leaves)}" fill="none" stroke="${COLOUR.pause}" stroke-dasharray="2 2"/>`;
  return [wait, arrow(leaves, GUEST - 14, leaves, OUTSIDE + 4, COLOUR.pause)];
}

function arrow(fromTime, fromY, toTime, toY, colour, dash = '') {
  const dashed = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
  const end = toY > fromY ? toY - 2 : toY + 2;
  return `<line x1="${x(fromTime)}" y1="${fromY}" x2="${x(toTime)}" y2="${end}" stroke="${colour}"${dashed} marker-end="url(#head)"/>`;
}

function label(time, y, text, colour = '#222') {
  return `<text x="${x(time)}" y="${y}" fill="${colour}">${text}</text>`;
}

function box([from, to, kind, text = ''], y) {
  const rect = `<rect x="${x(from)}" y="${y}" width="${x(to) - x(from)}" height="${BOX}" fill="${COLOUR[kind]}"/>`;
  if (text === '') return rect;
  const colour = kind === 'wait' ? '#222' : '#fff';
  return `${rect}${label(from + 1, y + 15, text, colour)}`;
}

/** Each: what the guest does, what the backup does, what is shipped and what leaves. */
const PICTURES = {
  lockstep: {
    guest: [[0, 100, 'run', 'the guest runs']],
    backup: [
      [0, 4, 'wait'],
      [4, 100, 'run', 'executes the same, a little later'],
    ],
    commits: [
      { at: 22, got: 30, ack: 38, what: 'log' },
      { at: 64, got: 72, ack: 80, what: 'log' },
    ],
    packets: [
      { at: 22, leaves: 38 },
      { at: 64, leaves: 80 },
    ],
  },
  'lockstep-epoch': {
    guest: [
      [0, 26, 'run', 'epoch 1'],
      [26, 42, 'wait', 'waits'],
      [42, 68, 'run', 'epoch 2'],
      [68, 84, 'wait', 'waits'],
      [84, 100, 'run', 'epoch 3'],
    ],
    backup: [
      [0, 34, 'wait'],
      [34, 60, 'run', 'executes epoch 1'],
      [60, 76, 'wait'],
      [76, 100, 'run', 'executes epoch 2'],
    ],
    commits: [
      { at: 26, got: 34, ack: 42, what: 'log' },
      { at: 68, got: 76, ack: 84, what: 'log' },
    ],
    packets: [{ at: 18, leaves: 42 }],
  },
  remus: {
    guest: [
      [0, 30, 'run', 'epoch 1'],
      [30, 32, 'pause'],
      [32, 62, 'run', 'epoch 2'],
      [62, 64, 'pause'],
      [64, 100, 'run', 'epoch 3'],
    ],
    backup: [
      [0, 42, 'wait', 'a QEMU that waits'],
      [42, 74, 'image', 'image of epoch 1'],
      [74, 100, 'image', 'image of epoch 2'],
    ],
    commits: [
      { at: 32, got: 42, ack: 50, what: 'state' },
      { at: 64, got: 74, ack: 82, what: 'state' },
    ],
    packets: [
      { at: 14, leaves: 50 },
      { at: 56, leaves: 82 },
    ],
  },
  kemari: {
    guest: [
      [0, 26, 'run', 'runs'],
      [26, 46, 'wait', 'waits: a packet'],
      [46, 66, 'run', 'runs'],
      [66, 86, 'wait', 'waits: a write'],
      [86, 100, 'run', 'runs'],
    ],
    backup: [
      [0, 36, 'wait', 'a QEMU that waits'],
      [36, 76, 'image', 'image as of the packet'],
      [76, 100, 'image', 'as of the write'],
    ],
    commits: [
      { at: 26, got: 36, ack: 46, what: 'state' },
      { at: 66, got: 76, ack: 86, what: 'state' },
    ],
    packets: [{ at: 26, leaves: 46 }],
  },
  'kemari-every': {
    guest: [
      [0, 10, 'run', 'runs'],
      [10, 26, 'wait', 'a timer'],
      [26, 36, 'run', 'runs'],
      [36, 52, 'wait', 'a packet in'],
      [52, 62, 'run', 'runs'],
      [62, 78, 'wait', 'a packet'],
      [78, 88, 'run', 'runs'],
      [88, 100, 'wait', 'a disk'],
    ],
    backup: [
      [0, 18, 'wait', 'waits'],
      [18, 44, 'image', 'image of epoch 1'],
      [44, 70, 'image', 'image of epoch 2'],
      [70, 100, 'image', 'image of epoch 3'],
    ],
    commits: [
      { at: 10, got: 18, ack: 26, what: 'state' },
      { at: 36, got: 44, ack: 52, what: 'state' },
      { at: 62, got: 70, ack: 78, what: 'state' },
    ],
    packets: [{ at: 62, leaves: 78 }],
  },
};

export const DRAWN = Object.keys(PICTURES);

/** The SVG of one of them. */
export function draw(name) {
  const { guest, backup, commits, packets } = PICTURES[name];
  const lanes = [
    [OUTSIDE, 'clients'],
    [GUEST + 15, 'primary'],
    [BACKUP + 15, 'backup'],
  ].map(([y, text]) => `<text x="8" y="${y}" fill="#222" font-weight="bold">${text}</text>`);
  const parts = [
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<defs><marker id="head" markerWidth="7" markerHeight="7" refX="5" refY="3" orient="auto">' +
      '<path d="M0 0L6 3L0 6z" fill="#444"/></marker></defs>',
    ...lanes,
    `<line x1="${LEFT}" y1="${OUTSIDE}" x2="${RIGHT}" y2="${OUTSIDE}" stroke="#bbb"/>`,
    ...guest.map((one) => box(one, GUEST)),
    ...backup.map((one) => box(one, BACKUP)),
    ...commits.flatMap(commit),
    ...packets.flatMap(packet),
  ];
  const size = `viewBox="0 0 ${RIGHT + 12} ${HEIGHT}" width="${RIGHT + 12}" height="${HEIGHT}"`;
  const font = 'font-family="sans-serif" font-size="12"';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>`,
    `<title>Time line of ${name}</title>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  for (const name of DRAWN) writeFileSync(join(import.meta.dirname, `${name}.svg`), draw(name));
}
