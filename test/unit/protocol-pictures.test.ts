// SPDX-License-Identifier: Apache-2.0
/** docs/protocols.md has each protocol, with the picture that its script draws. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '#scripts/paths.mjs';
import { DRAWN, draw } from '../../docs/protocols/draw.mjs';
import { PROTOCOL_NAMES } from '../../src/epochs/registry.ts';

const FOLDER = join(projectRoot, 'docs/protocols');

test('each protocol has its section and its picture, as it is drawn now', () => {
  const page = readFileSync(`${FOLDER}.md`, 'utf8');
  assert.equal([...DRAWN].sort(), [...PROTOCOL_NAMES].sort());
  for (const name of PROTOCOL_NAMES) {
    assert.ok(page.includes(`\n## \`${name}\`\n`), `a section ${name}`);
    assert.ok(page.includes(`](protocols/${name}.svg)`), `a picture of ${name}`);
    const drawn = readFileSync(join(FOLDER, `${name}.svg`), 'utf8');
    assert.is(drawn, draw(name), `${name}.svg: node docs/protocols/draw.mjs`);
  }
});

test.run();
