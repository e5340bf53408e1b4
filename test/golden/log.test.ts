// SPDX-License-Identifier: Apache-2.0
/** Logs of every version ever released stay readable, with the same meaning. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LOG_VERSION } from '../../src/log/batch.ts';
import { describeLog } from '../lib/describe-log.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const versions = readdirSync(here).filter((name) => /^log-v\d+$/.test(name));

test('there is a log of every version', () => {
  const wanted = Array.from({ length: LOG_VERSION }, (_, index) => `log-v${index + 1}`);
  assert.equal(versions.sort(), wanted);
});

for (const version of versions) {
  test(`${version} reads as it did when it was written`, async () => {
    const expected = JSON.parse(readFileSync(`${here}${version}/expected.json`, 'utf8'));
    assert.equal(await describeLog(`${here}${version}`), expected);
  });
}

test.run();
