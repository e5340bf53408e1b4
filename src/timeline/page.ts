// SPDX-License-Identifier: Apache-2.0
/**
 * A timeline as one HTML page that needs nothing else: no network, no other file.
 *
 * Everything a guest or a file name says is data: JSON in a script element that is
 * not run, with every `<` escaped, and base64. The page's policy allows its own
 * script and style by hash and nothing else, so that even a mistake of ours cannot
 * make it run or fetch what a guest printed.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { projectRoot } from '../base/paths.ts';
import { icountOf } from '../base/position.ts';
import { readOutlines } from '../checkpoint/manifest.ts';
import { kindName } from '../log/kinds.ts';
import type { Timeline } from './collect.ts';
import { headlineOf } from './facts.ts';
import type { Marker, PageHead } from './format.ts';

/** @param dir the recording, or the folder that has the log */
export function timelinePage(dir: string, timeline: Timeline): string {
  const { rows, start, consoleTail } = timeline;
  const { outlines, unreadable } = readOutlines(join(dir, 'checkpoints'));
  const notes = unreadable > 0 ? [`${unreadable} checkpoint(s) have no manifest to read.`] : [];
  const { columns, bytes } = rows.encode(start);
  const console = consoleTail.bytes();
  const checkpoints = outlines.map((outline): Marker => {
    const { kind, bytes, digest } = outline;
    const icount = Number(icountOf(outline.point));
    const vtimeNs = Number(outline.vtimeNs);
    return {
      icount,
      vtimeNs,
      hostNs: rows.hostAt(icount, vtimeNs, start),
      what: 'checkpoint',
      text: `${kind}, ${formatBytes(bytes)}, ${digest}`,
    };
  });
  const kinds = columns.flatMap((name) => (name.startsWith('kind:') ? [name.slice(5)] : []));
  const head: PageHead = {
    format: 1,
    ...headlineOf(dir, timeline, notes),
    hostEpochNs: String(timeline.hostEpochNs),
    start,
    rows: rows.length,
    pointsPerRow: rows.pointsPerRow,
    columns,
    kindNames: Object.fromEntries(kinds.map((kind) => [kind, kindName(Number(kind))])),
    markers: [...checkpoints, ...timeline.markers],
    markersLeftOut: timeline.markersLeftOut,
    gaps: timeline.gaps,
    console: { bytes: console.length, firstByte: consoleTail.total - console.length },
  };
  return assemble(head, deflateSync(Buffer.concat([bytes, console]), { level: 9 }));
}

function assemble(head: PageHead, blob: Buffer): string {
  const script = builtFile('main.js');
  const style = builtFile('style.css');
  const policy =
    `default-src 'none'; script-src '${sha256(script)}'; style-src '${sha256(style)}'; ` +
    "base-uri 'none'; form-action 'none'";
  const title = escapeHtml(head.title);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}: timeline</title>
<style>${style}</style>
</head>
<body>
<main><h1>${title}</h1><p>This page needs JavaScript.</p></main>
<script type="application/json" id="head">${escapeJson(JSON.stringify(head))}</script>
<script type="text/plain" id="blob">${blob.toString('base64')}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** The page's own code, which the build makes of client/. */
function builtFile(name: string): string {
  const path = join(projectRoot(), 'dist', 'timeline', name);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new UnderstudyError(
      'file-io',
      `the code of the page cannot be read: ${messageOf(cause)}; \`npm run build\` makes it`,
      { cause },
    );
  }
}

function sha256(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** JSON stays the same value, and cannot end the element that it is in. */
export function escapeJson(json: string): string {
  return json.replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028');
}

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? '');
}
