// SPDX-License-Identifier: Apache-2.0
/** What finds and shows a divergence, without a QEMU. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { atIcount, icountOf } from '../../src/base/position.ts';
import { describeReport, parseReport, reportDetails } from '../../src/log/divergence.ts';
import { between } from '../../src/replay/bisect.ts';
import { pageKey, pageOfKey, readAnswers, writeProbes } from '../../src/replay/probes.ts';
import { lookAt, pageDifference } from '../../src/replay/state-diff.ts';
import { parseDigestEvery } from '../../src/vm/digest-every.ts';

const dir = tempDir('bisect');

test('positions between two: inside, growing, all of them if there are few', () => {
  const inside = (low: bigint, high: bigint): bigint[] =>
    between(atIcount(low), atIcount(high), 500).map(icountOf);
  assert.equal(inside(10n, 14n), [11n, 12n, 13n]);
  assert.equal(inside(10n, 11n), []);
  const many = inside(0n, 100_000_000n);
  assert.is(many.length, 500);
  for (const [index, at] of many.entries()) {
    assert.ok(at > (many[index - 1] ?? 0n) && at < 100_000_000n);
  }
  // No hole is much larger than the others, so that rounds get shorter.
  assert.ok((many[0] ?? 0n) <= 200_000n && 100_000_000n - (many.at(-1) ?? 0n) <= 200_000n);
});

test('how often: numbers with units, off, nothing else', () => {
  assert.is(parseDigestEvery('100M'), 100_000_000);
  assert.is(parseDigestEvery('500k'), 500_000);
  assert.is(parseDigestEvery('2G'), 2_000_000_000);
  assert.is(parseDigestEvery('250000'), 250_000);
  assert.is(parseDigestEvery('off'), 0);
  for (const text of ['', '0', '10', '99999', '1T', '-1M', '1.5M', 'M', '9999999999G']) {
    assert.is(parseDigestEvery(text), null, text);
  }
});

const REPORT = {
  reason: 'digest of RAM differs',
  icount: 400,
  vtimeNs: 800,
  expected: {
    ordinal: 28,
    icount: 400,
    vtimeNs: 800,
    kind: 'digest',
    channel: 1,
    len: 40,
    arg: '320',
  },
  lastEqualDigest: { icount: 300, vtimeNs: 600 },
  parts: { ram: ['c2e8fea9b3bb6341', '8a97e6c25e1f5ad9'] },
};

test('a report names the parts, expected beside actual, and since when', () => {
  const report = parseReport(JSON.stringify(REPORT));
  assert.ok(report);
  if (report === null) return;
  const text = describeReport(report).join('\n');
  assert.match(text, 'RAM: expected c2e8fea9b3bb6341, actual 8a97e6c25e1f5ad9');
  assert.match(text, 'it was equal at    icount 300');
  const details = reportDetails(report);
  assert.equal(details.last_equal_digest, { icount: 300n, vtime_ns: 600n });
  assert.equal(details.parts, [
    { part: 'ram', expected: 'c2e8fea9b3bb6341', actual: '8a97e6c25e1f5ad9' },
  ]);
});

test('a report without digests, as older QEMUs write it', () => {
  const { lastEqualDigest: _, parts: __, ...old } = REPORT;
  const report = parseReport(JSON.stringify(old));
  assert.equal(report === null ? null : reportDetails(report).parts, []);
  const none = parseReport(JSON.stringify({ ...REPORT, lastEqualDigest: null }));
  assert.match(none === null ? '' : describeReport(none).join('\n'), 'power-on');
});

const ANSWERS = `digest 10 10 20 3 aa bb cc dd
digest 11 12 24 3 aa bb ce dd
state 12 12 24 4
register RAX=0000 RBX=0001
section cpu 0 00010203
section 0000:00:04.0/virtio-blk 0 ff
page pc.ram 1000 abcd
page 0000:00:02.0/vga.vram 0 ef01
content 12 12 pc.ram 1000 1000 ${'00'.repeat(4096)}
content 12 12 rom 0 ffffffffffffffff 01
digest 13 13 2`;

test('answers of probes, also when QEMU ended in the middle of one', async () => {
  const file = join(dir, 'probes');
  writeProbes(file, [
    { verb: 'digest', point: atIcount(10n) },
    { verb: 'pages', point: atIcount(12n), pages: [{ block: 'pc.ram', offset: 4096n }] },
  ]);
  assert.equal((await readAnswers(file)).digests, [], 'nothing written yet');
  writeFileSync(`${file}.out`, ANSWERS);
  const { digests, state, contents } = await readAnswers(file);
  assert.equal(digests[1], {
    at: { point: atIcount(12n), vtimeNs: 24n },
    ordinal: 3n,
    value: 'aa bb ce dd',
  });
  assert.is(digests.length, 2);
  assert.equal(
    [...(state?.sections ?? [])],
    [
      ['cpu 0', '00010203'],
      ['0000:00:04.0/virtio-blk 0', 'ff'],
    ],
  );
  assert.is(state?.pages.get('0000:00:02.0/vga.vram:0'), 'ef01');
  assert.is(contents[0]?.gpa, 4096n);
  assert.is(contents[1]?.gpa, null, 'not mapped');
  for (const key of state?.pages.keys() ?? []) assert.is(pageKey(pageOfKey(key)), key);
});

test('two pages: rows with their addresses, and how many bytes', () => {
  const page = { block: 'pc.ram', offset: 0x1000n, gpa: 0x1000n };
  const expected = { ...page, bytes: Buffer.alloc(4096) };
  const actual = { ...page, bytes: Buffer.alloc(4096) };
  actual.bytes[0x123] = 8;
  actual.bytes[0x124] = 9;
  const { rows, bytesDifferent } = pageDifference(expected, actual);
  assert.is(bytesDifferent, 2);
  assert.equal(rows, [
    {
      address: 0x1120n,
      expected: '00'.repeat(16),
      actual: `${'00'.repeat(3)}0809${'00'.repeat(11)}`,
    },
  ]);
});

test('two states: what differs, and nothing else', async () => {
  const base = {
    at: { point: atIcount(5n), vtimeNs: 10n },
    ordinal: 0n,
    registers: ['RAX=1', 'RBX=2'],
    sections: new Map([
      ['cpu 0', '0011223344556677889900'],
      ['serial 0', 'aa'],
    ]),
    pages: new Map([['pc.ram:0', 'x']]),
  };
  const other = {
    ...base,
    registers: ['RAX=1', 'RBX=3'],
    sections: new Map([
      ['cpu 0', '0011223344556677889901'],
      ['serial 0', 'aa'],
    ]),
  };
  const found = await lookAt(atIcount(5n), async (_probes, which) => ({
    digests: [],
    contents: [],
    state: which === 'reference' ? base : other,
  }));
  assert.equal(found?.registersDifferent, [{ expected: 'RBX=2', actual: 'RBX=3' }]);
  assert.equal(found?.sections, [
    { section: 'cpu 0', offset: 10, bytes: 11, expected: '889900', actual: '889901' },
  ]);
  assert.is(found?.pagesDifferent, 0);
});

test.run();
