#!/usr/bin/env node
// Generates schema/*.capnp.ts from schema/*.capnp.
//
//   node schema/generate.mjs [--out DIR]
//
// Needs Debian's `capnproto` and, the first time, the npm registry: the generator
// is not a dependency of the project because it needs its own, old TypeScript
// (capnpc-ts 0.7.0 breaks on others).  It is kept in the user's cache folder.
//
// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const SCHEMAS = ['log', 'wire'];
const GENERATOR = {
  name: 'understudy-capnpc',
  private: true,
  dependencies: { 'capnpc-ts': '0.7.0', 'capnp-ts': '0.7.0', typescript: '4.2.4' },
  overrides: { typescript: '4.2.4' },
};

function generatorDir() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const dir = join(cache, 'understudy', 'capnpc-ts-0.7.0');
  if (existsSync(join(dir, 'ready'))) return dir;
  mkdirSync(dirname(dir), { recursive: true });
  const fresh = mkdtempSync(`${dir}.`);
  writeFileSync(join(fresh, 'package.json'), JSON.stringify(GENERATOR));
  execFileSync(
    'npm',
    ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'],
    {
      cwd: fresh,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  writeFileSync(join(fresh, 'ready'), '');
  rmSync(dir, { recursive: true, force: true });
  renameSync(fresh, dir);
  return dir;
}

// What the project's compiler options ask for and the old generator does not write.
function adapt(source) {
  return (
    source
      .replace(/^( {4})toString\(\)/gm, '$1override toString()')
      .replace(/static readonly _capnp =/g, 'static override readonly _capnp =')
      // 64-bit accessors are bigint since capnp-ts 0.8.
      .replace(/capnp\.U?[iI]nt64\b/g, 'bigint')
      .replace(/^\/\*\*\n/, '/**\n * SPDX-License-Identifier: Apache-2.0\n *\n')
  );
}

function main() {
  const outAt = process.argv.indexOf('--out');
  const out = outAt < 0 ? here : process.argv[outAt + 1];
  const generator = generatorDir();
  const work = mkdtempSync(join(tmpdir(), 'understudy-schema-'));
  try {
    for (const name of SCHEMAS) {
      const request = execFileSync('capnp', ['compile', '-o-', `${name}.capnp`], { cwd: here });
      // Its `run` writes NAME.capnp.ts; its `main` would go on to make JavaScript.
      execFileSync(process.execPath, ['-e', 'require("capnpc-ts/src").run()'], {
        cwd: work,
        input: request,
        env: { ...process.env, NODE_PATH: join(generator, 'node_modules') },
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      const source = readFileSync(join(work, `${name}.capnp.ts`), 'utf8');
      writeFileSync(join(out, `${name}.capnp.ts`), adapt(source));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

main();
