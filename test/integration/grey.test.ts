// SPDX-License-Identifier: Apache-2.0
/**
 * Grey failures: a host that is sick and not dead. One side serves within three seconds, the
 * other one does not, nothing that was acknowledged is lost, and somebody says why.
 *
 *   npm test integration/grey            a few; all of them, again and again: campaign:grey
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type GreyOptions, playGrey } from '../lib/grey.ts';
import { faultOf } from '../lib/grey-illness.ts';

const grey = suite('grey failures');
const dir = mkdtempSync(join(tmpdir(), 'understudy-grey-'));
const SEED = 20;

const CASES: readonly Omit<GreyOptions, 'dir' | 'seed'>[] = [
  { illness: 'log frozen', sick: 'a' },
  { illness: 'log frozen', sick: 'b' },
  { illness: 'log full', sick: 'a' },
  { illness: 'log slow', sick: 'b', replication: ['durability = "disk"'] },
  { illness: 'image frozen', sick: 'a' },
  { illness: 'JavaScript stopped', sick: 'b' },
  { illness: 'courier stopped', sick: 'b' },
  { illness: 'log frozen', sick: 'a', replication: ['unprotected = "hold"'], holds: true },
  { illness: 'log frozen', sick: 'b', replication: ['unprotected = "hold"'], holds: true },
];

for (const [index, one] of CASES.entries()) {
  const { illness, sick, replication = [] } = one;
  const whose = sick === 'a' ? 'primary' : 'backup';
  grey(`${illness}, of the ${whose} ${replication.join(', ')}`, async () => {
    assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
    const place = join(dir, String(index));
    const result = await playGrey({ ...one, dir: place, seed: SEED });
    assert.is(faultOf(one, result), '');
    rmSync(place, { recursive: true });
  });
}

grey.after(() => rmSync(dir, { recursive: true, force: true }));
grey.run();
