// SPDX-License-Identifier: Apache-2.0
/**
 * The report of a run of the harness in headless Chromium: every figure is there, no text
 * lies on another or is cut off, nothing is fetched, and what a guest said is text.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FIGURES } from '../../bench/figures/index.ts';
import { writeReport } from '../../bench/report/report.ts';
import type { BenchResults } from '../../bench/results.ts';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testChromium } from '../../scripts/steps/test-chromium.mjs';
import { fakeResults, fullResults } from '../lib/bench-results.ts';
import { Chromium } from '../lib/chromium.ts';
import { scratch } from '../lib/command.ts';

const dir = scratch('bench-report');
const binary = await testChromium(new Progress({ quietDone: true }));
if (binary === undefined) {
  throw new Error('there is no Chromium: as root this test installs it; apt-get install chromium');
}
const browser = await Chromium.start(binary);
const view = { width: 1300, height: 1000, deviceScaleFactor: 1, mobile: false };
await browser.send('Emulation.setDeviceMetricsOverride', view);

/** Pixels by which another host's font may be wider. */
const TOLERANCE = 2;

interface Box {
  readonly text: string;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

interface Drawn {
  readonly id: string;
  readonly frame: Box;
  readonly texts: readonly Box[];
}

/** Boxes of every figure and of its texts, at the size they were drawn for. */
const BOXES = `(() => {
  const box = (element, text) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return { text, left, top, right, bottom };
  };
  for (const svg of document.querySelectorAll('figure svg')) svg.style.maxWidth = 'none';
  return [...document.querySelectorAll('figure')].map((figure) => {
    const svg = figure.querySelector('svg');
    const texts = [...svg.querySelectorAll('text')].map((text) => box(text, text.textContent));
    return { id: figure.id, frame: box(svg, ''), texts };
  });
})()`;

async function open(name: string, results: BenchResults): Promise<Drawn[]> {
  const [page = ''] = await writeReport(results, join(dir, name));
  browser.problems.length = 0;
  browser.requests.length = 0;
  const url = pathToFileURL(page).href;
  await browser.open('about:blank', 'true');
  // While it is being parsed the last figure there is is not the last one.
  const whole = 'document.querySelector("figure") !== null && document.readyState === "complete"';
  await browser.open(url, whole);
  assert.equal(browser.problems, []);
  assert.equal(
    browser.requests.filter((request) => request !== url && request !== 'about:blank'),
    [],
    'nothing is fetched',
  );
  return browser.evaluate<Drawn[]>(BOXES);
}

function overlaps(a: Box, b: Box): boolean {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  // Boxes of lines below each other touch: letters do not fill them.
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const lower = Math.min(a.bottom - a.top, b.bottom - b.top);
  return width > TOLERANCE && height > lower * 0.3;
}

function faultsOf({ id, frame, texts }: Drawn): string[] {
  const faults: string[] = [];
  if (frame.right - frame.left < 300 || frame.bottom - frame.top < 150) {
    faults.push(`${id} has no size`);
  }
  for (const [at, one] of texts.entries()) {
    const isOut =
      one.left < frame.left - TOLERANCE ||
      one.right > frame.right + TOLERANCE ||
      one.top < frame.top - TOLERANCE ||
      one.bottom > frame.bottom + TOLERANCE;
    if (isOut) faults.push(`${id}: "${one.text}" is cut off`);
    for (const other of texts.slice(at + 1)) {
      if (overlaps(one, other)) faults.push(`${id}: "${one.text}" lies on "${other.text}"`);
    }
  }
  return faults;
}

const report = suite('the report');

report('has every figure, legible', async () => {
  const drawn = await open('full', fullResults({ seed: 7, noise: 0.03 }));
  assert.equal(
    drawn.map(({ id }) => id),
    FIGURES.map(({ name }) => `figure-${name}`),
  );
  assert.equal(drawn.flatMap(faultsOf), []);
});

report('of one round of little, with nothing measured apart, is legible as well', async () => {
  const quick = fakeResults({ seed: 2, rounds: 1, quick: true });
  const few = ['plain', 'record', 'lockstep'];
  const drawn = await open('quick', {
    ...quick,
    complete: false,
    systems: quick.systems.filter(({ name }) => few.includes(name)),
    runs: quick.runs.filter(({ system, workload }) => few.includes(system) && workload !== 'sql'),
    experiments: [
      {
        name: 'failover',
        title: 'Failover',
        columns: ['seed', 'stall_ms'],
        rows: [],
        why_not: 'seed 1000: the backup did not come within 60 s, which is a long reason to give',
      },
    ],
  });
  assert.equal(drawn.flatMap(faultsOf), []);
  const text = await browser.evaluate<string>('document.body.innerText');
  assert.match(text, 'It is not complete');
  assert.match(text, 'not run: the harness was ended before');
  assert.match(text, 'one round');
});

report('with extremes: wide intervals, tiny and huge numbers, is legible as well', async () => {
  const results = fullResults({ seed: 5, noise: 0.6 });
  const runs = results.runs.map((run) => {
    if (run.system !== 'lockstep') return run;
    const values = Object.entries(run.values).map(([name, value]) => [name, value * 300]);
    return { ...run, values: Object.fromEntries(values), facts: { ...run.facts, log_bytes: 1e13 } };
  });
  assert.equal((await open('extreme', { ...results, runs })).flatMap(faultsOf), []);
});

report('leaves what is invalid out, and says why; what a guest says is text', async () => {
  const results = fullResults({ seed: 3, rounds: 3 });
  const said = '<script>alert(1)</script> & "so on"';
  const runs = results.runs.map((run) =>
    run.system === 'lockstep' && run.workload === 'cpu' ? { ...run, invalid: said } : run,
  );
  const drawn = await open('invalid', { ...results, runs });
  assert.equal(drawn.flatMap(faultsOf), []);
  const text = await browser.evaluate<string>('document.body.innerText');
  assert.match(text, `round 1: ${said}`);
  assert.match(text, `no run counts: ${said}`);
  assert.is(await browser.evaluate<number>('document.scripts.length'), 0);
});

report.after(async () => {
  await browser.close();
});

report.run();
