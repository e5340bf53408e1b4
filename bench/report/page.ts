// SPDX-License-Identifier: Apache-2.0
/**
 * The report: one HTML page that needs nothing else, figures inside, to be read beside a
 * paper. It has no script, and its policy allows none: whatever a guest or a file name put
 * into a reason is text.
 */
import { createHash } from 'node:crypto';
import { formatBytes, formatDuration } from '../../src/base/format.ts';
import type { Figure, Made } from '../figures/figure.ts';
import type { BenchResults } from '../results.ts';
import { NOISY_WIDTH, REPEATS_OF_100 } from '../stats.ts';
import { Summary } from '../summary.ts';
import { Html, html, joined } from './html.ts';
import { STYLE } from './style.ts';
import { resultsTables } from './values.ts';
import { verificationPart } from './verification.ts';

export interface DrawnFigure {
  readonly figure: Figure;
  readonly made: Made;
}

export function reportPage(results: BenchResults, figures: readonly DrawnFigure[]): string {
  const summary = new Summary(results);
  const style = createHash('sha256').update(STYLE).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${style}'; base-uri 'none'; form-action 'none'`;
  const title = `Understudy benchmarks, ${results.id}`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<h1>Fault tolerance by record and replay, measured</h1>
<p class="lead">${lead(results)}</p>
${warnings(results)}
<h2>Where and of what</h2>
${hostTable(results)}
<h2>Verification</h2>
${verificationPart(summary)}
<h2>Results</h2>
${resultsTables(summary)}
<h2>Figures</h2>
${joined(figures.map(({ figure, made }, at) => figurePart(figure, made, at + 1)))}
<h2>How it was measured</h2>
${method(results)}
<h2>How to measure it again</h2>
${again(results)}
</main>
</body>
</html>
`;
  return page.text;
}

function lead({ workloads, systems, rounds, started_at, seconds }: BenchResults): string {
  const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
  return (
    `${count(workloads.length, 'workload')} on ${count(systems.length, 'system')}, ` +
    `${count(rounds, 'round')}, begun ${dateOf(started_at)}, ${formatDuration(seconds * 1000)}.`
  );
}

function dateOf(iso: string): string {
  return iso.replace(/^(\d+-\d+-\d+)T(\d+:\d+).*$/, '$1, $2 UTC');
}

function warnings({ complete, quick, host, rounds }: BenchResults): Html {
  const texts = [
    ...(complete ? [] : ['It is not complete: the harness was ended before its time.']),
    ...(quick ? ['It is a smoke run: small sizes, few systems; its numbers are not results.'] : []),
    ...(host.dirty ? ['The tree had changes that were not committed.'] : []),
    ...(rounds < 3 ? ['With fewer than three rounds nothing is known of the spread.'] : []),
  ];
  return joined(texts.map((text) => html`<p class="warning">${text}</p>`));
}

function hostTable({ host, id, started_at }: BenchResults): Html {
  const rows: [string, string][] = [
    ['results', id],
    ['date', dateOf(started_at)],
    ['CPU', `${host.cpu}, ${host.cores} cores`],
    ['memory', formatBytes(host.memory_bytes)],
    ['kernel', host.kernel],
    ['system', host.os],
    ['Node', host.node],
    ...Object.entries(host.qemu).map(([name, what]): [string, string] => [`QEMU, ${name}`, what]),
    ['commit', `${host.commit}${host.dirty ? ', with changes that were not committed' : ''}`],
  ];
  return html`<table class="facts"><tbody>
${joined(rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`))}</tbody></table>`;
}

function figurePart({ name, title }: Figure, { svg, notes }: Made, number: number): Html {
  const missing = notes.some((note) => /not yet/i.test(note))
    ? ' Parts of it are not yet there.'
    : '';
  // Made by charts/, which escapes every text.
  return html`<figure id="figure-${name}">
${new Html(svg)}
<figcaption><b>Figure ${number}. ${title}.</b>${missing} Files:
<a href="figures/${name}.svg">SVG</a>, <a href="figures/${name}.png">PNG</a>,
<a href="figures/${name}.csv">CSV</a>.</figcaption>
</figure>
`;
}

function method({ systems, rounds }: BenchResults): Html {
  const base = systems.find(({ baseline }) => baseline === null)?.title ?? 'the baseline';
  return html`<ul>
<li>Each system runs the same VM: the same kernel, initrd, disk and devices. In each of ${rounds}
round(s) each workload runs on all systems, one after the other. Rates are by the host's
wall-clock, taken from outside of the guest.</li>
<li>A ratio is made within a round, of two runs that are neighbours in time, against ${base}; the
middle of the rounds is shown: their mean without the lowest and the highest. The interval is where
that of another run of as many rounds is expected, ${REPEATS_OF_100} times in 100. Few rounds say
little about their own spread, so it is moderated by that of all figures (Smyth 2004).</li>
<li>A ratio whose interval is wider than ${NOISY_WIDTH * 100} % of it is marked <i>noisy</i>: do
not cite it.</li>
<li>A run of a verified system counts only if its baseline ran in the same round, its log replays
with equal digests, and the disks of both sides are the same bytes at the end. Where the backup
executes nothing there is no such log: its image of memory has the primary's digest wherever that
made one. Nothing of a run that fails in one of these is in a table or a figure.</li>
<li>Both sides of a protected VM share this host's cores and disk; the link between them is the
loopback device.</li>
<li>What is on grey is a paper's own, from the sources named with each figure; a paper's testbed
is never ours, so only ratios can be compared, and these with care.</li>
</ul>`;
}

function again({ host, id, rounds, quick }: BenchResults): Html {
  const commit = host.commit.slice(0, 12);
  const flags = quick ? ' --quick' : ` --rounds ${rounds}`;
  return html`<pre>git checkout ${commit}
npm run bootstrap
bin/understudy bench${flags} --report REPORT     # as root: it makes network namespaces
bin/understudy bench --of ${id} --report REPORT   # this page again, from the kept results
bin/understudy bench --compare ${id} OTHER        # is another commit slower?</pre>
<p><code>results.csv</code> beside this page has every value and fact of every run.</p>`;
}
