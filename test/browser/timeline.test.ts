// SPDX-License-Identifier: Apache-2.0
/**
 * Timeline pages in headless Chromium: loaded as a file, without a network, moved
 * about in by mouse and keyboard, and written by a guest that means harm.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testChromium } from '../../scripts/steps/test-chromium.mjs';
import { Chromium } from '../lib/chromium.ts';
import { run, scratch } from '../lib/command.ts';
import { type TimedBatch, type TimedRecord, writeTimed } from '../lib/timed-log.ts';

const dir = scratch('browser');
const READY = 'document.documentElement.dataset.ready';
const SEALED = 1_700_000_000_000_000_000n;
const SECOND = 1_000_000_000;

const binary = await testChromium(new Progress({ quietDone: true }));
if (binary === undefined) {
  throw new Error('there is no Chromium: as root this test installs it; apt-get install chromium');
}
const browser = await Chromium.start(binary);
const view = { width: 1300, height: 1200, deviceScaleFactor: 1, mobile: false };
await browser.send('Emulation.setDeviceMetricsOverride', view);

/** 10 s; a burst of 40 packets at 5 s, and a word on the console each second. */
function burst(): TimedBatch[] {
  return Array.from({ length: 10 }, (_, second): TimedBatch => {
    const at = (second + 1) * SECOND;
    const position = { icount: at / 2, vtimeNs: at };
    const packets = second === 4 ? 40 : 1;
    const records: TimedRecord[] = Array.from({ length: packets }, () => ({
      ...position,
      kind: 'NET_IN',
      len: 100,
    }));
    const said = Buffer.from(`second ${second + 1}\n`);
    records.push({ ...position, kind: 'CHAR_OUT', payload: said });
    return { records, sealedAtNs: SEALED + BigInt(at) };
  });
}

/** Writes the log and its page, and opens that. */
async function open(name: string, batches: readonly TimedBatch[], exitCode = 0): Promise<void> {
  const log = join(dir, name);
  await mkdir(log, { recursive: true });
  writeTimed(log, batches);
  await show(log, name, exitCode);
}

async function show(log: string, name: string, exitCode: number): Promise<void> {
  const file = join(dir, `${name.replaceAll(/\W/g, '-')}.html`);
  const { code, stderr } = await run(['inspect', log, '--html', file, '--force']);
  assert.is(code, exitCode, stderr);
  browser.problems.length = 0;
  browser.requests.length = 0;
  const url = pathToFileURL(file).href;
  await browser.open('about:blank', 'true');
  await browser.open(url, READY);
  assert.equal(
    browser.requests.filter((request) => request !== url && request !== 'about:blank'),
    [],
    'nothing is fetched',
  );
}

function clean(): void {
  assert.equal(browser.problems, []);
}

interface Range {
  readonly from: number;
  readonly to: number;
}

const range = (): Promise<Range> =>
  browser.evaluate(
    `(({ dataset }) => ({ from: +dataset.from, to: +dataset.to }))(document.getElementById('range'))`,
  );

/** Does something, and waits until the range has changed. */
async function moved(what: () => Promise<unknown>): Promise<Range> {
  const before = JSON.stringify(await range());
  await what();
  await browser.until(
    `(({ dataset }) => JSON.stringify({ from: +dataset.from, to: +dataset.to }))` +
      `(document.getElementById('range')) !== ${JSON.stringify(before)}`,
  );
  return range();
}

/** Where a share of the visible range is in the window, half-way down the first panel. */
async function pointAt(share: number): Promise<{ x: number; y: number }> {
  return browser.evaluate(`(() => {
    const { left, width, top } = document.querySelector('#plots .frame').getBoundingClientRect();
    return { x: left + ${share} * width, y: top + 40 };
  })()`);
}

const readout = (): Promise<Record<string, string>> =>
  browser.evaluate(`Object.fromEntries([...document.querySelectorAll('#readout dt')].map(
    (name) => [name.textContent, name.nextElementSibling.textContent]))`);

const page = suite('a timeline page');

page('loads, alone, and has the right totals', async () => {
  await open('burst', burst());
  clean();
  const legend = await browser.evaluate<string[]>(
    `[...document.querySelectorAll('#legend .entry')].map((entry) => entry.textContent)`,
  );
  assert.equal(legend, ['NET_IN 49', 'CHAR_OUT 10']);
  const facts = await browser.evaluate<string>(`document.getElementById('facts').textContent`);
  assert.match(facts, '5,000,000,000');
  assert.match(facts, '59 in 10 batches');
  assert.match(facts, 'no: there is no END');
  assert.equal(await range(), { from: 0, to: 10 * SECOND });
  const panels = `[...document.querySelectorAll('[data-panel]')].map((panel) => panel.dataset.panel)`;
  const names = ['exits', 'packets', 'console', 'log', 'idle', 'held', 'behind'];
  assert.equal(await browser.evaluate(panels), names);
  const drawn = await browser.evaluate<string>(`document.getElementById('plots').textContent`);
  assert.match(drawn, 'not known: this log has no CLOCK origin');
});

page('hovering says what is there', async () => {
  const at = await pointAt(0.503);
  await browser.mouse('mouseMoved', at.x, at.y);
  await browser.until(`document.querySelector('#readout dt') !== null`);
  const values = await readout();
  assert.match(values.NET_IN ?? '', /^40, 4 kB$/);
  assert.match(values['guest time'] ?? '', /^5\.0/);
  assert.match(values.instructions ?? '', /^2,5\d\d,\d{3},\d{3}$/);
  const shown = await browser.evaluate<string>(`document.getElementById('console').textContent`);
  assert.match(shown, 'second 5');
  assert.not.match(shown, 'second 6');
  const other = await pointAt(0.55);
  await browser.mouse('mouseMoved', other.x, other.y);
  await browser.until(`!document.getElementById('readout').textContent.includes('NET_IN')`);
});

page('zooms and pans by keyboard, and back', async () => {
  const zoomed = await moved(() => browser.key('+'));
  assert.is(Math.round(zoomed.to - zoomed.from), 5 * SECOND);
  const panned = await moved(() => browser.key('ArrowRight'));
  assert.is(Math.round(panned.from - zoomed.from), 1.25 * SECOND);
  assert.equal(await moved(() => browser.key('0')), { from: 0, to: 10 * SECOND });
});

page('zooms by dragging, by wheel, by buttons', async () => {
  const from = await pointAt(0.4);
  const to = await pointAt(0.6);
  const dragged = await moved(async () => {
    const button = { button: 'left', clickCount: 1 };
    await browser.mouse('mousePressed', from.x, from.y, { ...button, buttons: 1 });
    await browser.mouse('mouseMoved', to.x, to.y, { button: 'left', buttons: 1 });
    await browser.mouse('mouseReleased', to.x, to.y, button);
  });
  assert.ok(Math.abs(dragged.from - 4 * SECOND) < 0.05 * SECOND, String(dragged.from));
  assert.ok(Math.abs(dragged.to - 6 * SECOND) < 0.05 * SECOND, String(dragged.to));
  // The burst lies in the middle still, and its bar with it.
  const bar = `document.querySelector('[data-panel=exits] path').getAttribute('d')`;
  assert.match(await browser.evaluate(bar), /^M\d/);
  const middle = await pointAt(0.5);
  const CTRL = 2;
  const wheel = { deltaX: 0, deltaY: -400, modifiers: CTRL };
  const nearer = await moved(() => browser.mouse('mouseWheel', middle.x, middle.y, wheel));
  assert.ok(nearer.to - nearer.from < 1.5 * SECOND);
  const click = (label: string): Promise<unknown> =>
    browser.evaluate(`document.querySelector('[aria-label="${label}"]').click()`);
  const out = await moved(() => click('zoom out'));
  assert.ok(out.to - out.from > nearer.to - nearer.from);
  assert.equal(await moved(() => click('show everything')), { from: 0, to: 10 * SECOND });
});

page('has three axes for the same part', async () => {
  await moved(() => browser.key('+'));
  const time = await range();
  const instructions = await moved(() => browser.key('3'));
  assert.is(Math.round(instructions.from * 2), Math.round(time.from));
  assert.is(Math.round(instructions.to * 2), Math.round(time.to));
  const host = await moved(() => browser.key('2'));
  assert.ok(host.to > host.from);
  await moved(() => browser.key('1'));
  await moved(() => browser.key('0'));
});

page('hides a kind', async () => {
  const bars = `document.querySelectorAll('[data-panel=exits] path').length`;
  assert.is(await browser.evaluate(bars), 1);
  await browser.evaluate(`document.querySelector('#legend button').click()`);
  await browser.until(`${bars} === 0`);
  await browser.evaluate(`document.querySelector('#legend button').click()`);
  await browser.until(`${bars} === 1`);
});

page('is dark where the reader likes it dark, narrow where the window is, and prints', async () => {
  const background = `getComputedStyle(document.body).backgroundColor`;
  const light = await browser.evaluate(background);
  const features = [{ name: 'prefers-color-scheme', value: 'dark' }];
  await browser.send('Emulation.setEmulatedMedia', { features });
  assert.is.not(await browser.evaluate(background), light);
  await browser.send('Emulation.setEmulatedMedia', { media: 'print', features });
  assert.is(await browser.evaluate(background), light, 'paper is white');
  await browser.send('Emulation.setEmulatedMedia', { media: '', features: [] });
  const { data } = await browser.send('Page.printToPDF');
  assert.match(Buffer.from(String(data), 'base64').toString('latin1'), '%PDF');
  await browser.send('Emulation.setDeviceMetricsOverride', { ...view, width: 400 });
  await browser.until(`document.getElementById('plots').viewBox.baseVal.width < 400`);
  const overflow = `document.documentElement.scrollWidth - innerWidth`;
  assert.ok((await browser.evaluate<number>(overflow)) <= 0);
  await browser.send('Emulation.setDeviceMetricsOverride', view);
  clean();
});

page.run();

const hostile = suite('a timeline page of a hostile guest');
const HARM =
  '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';

hostile('prints what would be a script', async () => {
  const records: TimedRecord[] = [
    { icount: 1000, vtimeNs: 2000, kind: 'CHAR_OUT', payload: Buffer.from(HARM) },
    { icount: 2000, vtimeNs: 4000, kind: 'CHAR_OUT', payload: Buffer.from('\n') },
  ];
  // A folder's name is shown too. No slash can be in it, but what begins it would keep
  // a script element open (HTML, "script data double escaped state").
  const name = '<!--<script><img src=x onerror="document.title=1">&<b>';
  await open(name, [{ records, sealedAtNs: SEALED }]);
  const at = await pointAt(0.9);
  await browser.mouse('mouseMoved', at.x, at.y);
  await browser.until(`document.getElementById('console').textContent.includes('owned')`);
  clean();
  assert.is(await browser.evaluate(`document.title`), `${name}: timeline`);
  assert.is(await browser.evaluate(`document.querySelectorAll('img, b:not(.entry b)').length`), 0);
  assert.is(await browser.evaluate(`document.querySelector('h1').textContent`), name);
  assert.match(await browser.evaluate(`document.getElementById('console').textContent`), HARM);
});

hostile('even a script that got in would not be run, nor fetch anything', async () => {
  await browser.evaluate(`document.body.insertAdjacentHTML('beforeend',
    '<img src="http://127.0.0.1:1/x.png" onerror="document.title=\\'owned\\'">')`);
  await browser.evaluate(`document.body.append(Object.assign(
    document.createElement('script'), { textContent: 'document.title = "owned"' }))`);
  for (let tries = 0; browser.problems.length < 2 && tries < 200; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.match(await browser.evaluate(`document.title`), 'timeline');
  assert.match(browser.problems.join(), 'Content Security Policy');
});

hostile.run();

const damaged = suite('a timeline page of a damaged log');

damaged('says where it stops and why, and shows the rest', async () => {
  const log = join(dir, 'damaged');
  await mkdir(log, { recursive: true });
  writeTimed(log, burst());
  const file = join(log, '000001.udl');
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.subarray(0, bytes.length - 300));
  await show(log, 'damaged', 11);
  clean();
  const notes = `[...document.querySelectorAll('.note')].map((note) => note.textContent).join('|')`;
  const text = await browser.evaluate<string>(notes);
  assert.match(text, /Damaged: 000001\.udl at byte [\d,]+ .*cut short/);
  assert.match(text, 'ends at icount 4,500,000,000');
  assert.is(await browser.evaluate(`document.querySelectorAll('#plots .gap').length`), 1);
  assert.match(
    await browser.evaluate(`document.getElementById('facts').textContent`),
    'no: damaged',
  );
});

damaged('of which nothing can be read', async () => {
  const log = join(dir, 'noise');
  await mkdir(log, { recursive: true });
  writeFileSync(join(log, '000001.udl'), Buffer.alloc(500, 7));
  await show(log, 'noise', 11);
  clean();
  assert.match(await browser.evaluate(`document.body.textContent`), 'No batch can be read');
});

damaged.after(() => browser.close());
damaged.run();
