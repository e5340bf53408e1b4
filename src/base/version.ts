// SPDX-License-Identifier: Apache-2.0
/** The version of this package, as peers and logs are told. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './paths.ts';

let known: string | null = null;

export function version(): string {
  if (known === null) {
    const manifest = readFileSync(join(projectRoot(), 'package.json'), 'utf8');
    known = (JSON.parse(manifest) as { version: string }).version;
  }
  return known;
}
