// SPDX-License-Identifier: Apache-2.0
/** The committed readers are what the schema generates. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const schemas = ['log', 'wire'];

/** Struct name → its id and the size of its two sections, as the compiler sees them. */
function compiled(name: string): Map<string, string> {
  const text = execFileSync('capnp', ['compile', '-ocapnp', `schema/${name}.capnp`], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const shapes = new Map<string, string>();
  const pattern = /struct (\w+) @0x(\w+) \{ +# (\d+) bytes, (\d+) ptrs/g;
  for (const [, struct, id, bytes, pointers] of text.matchAll(pattern)) {
    shapes.set(struct ?? '', `${id} ${bytes} ${pointers}`);
  }
  return shapes;
}

// Needs no registry: catches a field or struct changed without generating again.
for (const name of schemas) {
  test(`${name}.capnp.ts has the structs of ${name}.capnp, with their ids, sizes and fields`, () => {
    const source = readFileSync(join(root, `schema/${name}.capnp.ts`), 'utf8');
    const shapes = new Map<string, string>();
    const pattern = /displayName: "(\w+)", id: "(\w+)", size: new __O\((\d+), (\d+)\)/g;
    for (const [, struct, id, bytes, pointers] of source.matchAll(pattern)) {
      shapes.set(struct ?? '', `${id} ${bytes} ${pointers}`);
    }
    const wanted = compiled(name);
    assert.ok(wanted.size > 0);
    assert.equal(shapes, wanted);
    const schema = readFileSync(join(root, `schema/${name}.capnp`), 'utf8');
    const fields = [...schema.matchAll(/^ {2}(\w+) @\d+ :/gm)].map(([, field]) => field ?? '');
    for (const field of fields) {
      const getter = `get${field[0]?.toUpperCase()}${field.slice(1)}(`;
      assert.ok(source.includes(getter), `${getter}) is generated`);
    }
  });
}

test('generating again gives the committed bytes', () => {
  const out = tempDir('schema');
  const result = spawnSync(process.execPath, ['schema/generate.mjs', '--out', out], {
    cwd: root,
    encoding: 'utf8',
    timeout: 180_000,
  });
  if (
    result.status !== 0 &&
    /E(NOTFOUND|AI_AGAIN|CONNREFUSED|NETUNREACH|TIMEDOUT)/.test(result.stderr)
  ) {
    console.log('(no registry and no cached generator: compared structs and fields only)');
    return;
  }
  assert.is(result.status, 0, result.stderr);
  for (const name of schemas) {
    const fresh = readFileSync(join(out, `${name}.capnp.ts`), 'utf8');
    assert.is(fresh, readFileSync(join(root, `schema/${name}.capnp.ts`), 'utf8'), name);
  }
});

test.run();
