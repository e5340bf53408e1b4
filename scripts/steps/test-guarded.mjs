// SPDX-License-Identifier: Apache-2.0
// A guest with a service to watch: the reference guest's programs, Redis of the same Debian
// release, and the guard. Tests of the guard need it; nothing else builds it.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { ContentHash, cacheDir, readJson } from '../lib/cache.mjs';
import { Cpio } from '../lib/cpio.mjs';
import { guestDir, guestKey } from '../lib/guest-key.mjs';
import { made } from '../lib/made.mjs';
import { output, run, StepError } from '../lib/run.mjs';
import { guestApt, guestStep } from './guest.mjs';
import { guardKey, guardStep } from './us-guard.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const sources = join(root, 'test', 'guarded');
/** What a program needs that only runs, among all that Redis depends on. */
const NEEDED = /^(redis|lib|lua)/;
const LIBRARIES = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'];

/**
 * Builds its initrd unless the cache has it.
 * @returns it, and what its kernel's command line must have
 */
export async function guardedGuest(progress) {
  const key = new ContentHash()
    .addDir(sources, 'guarded')
    .addFile(fileURLToPath(import.meta.url), 'test-guarded.mjs')
    .add('reference', guestKey())
    .add('guard', guardKey())
    .digest();
  const initrd = await made('test-guarded', key, 'initrd.gz', 2, progress, (dir) =>
    assemble(dir, progress),
  );
  return { initrd, words: 'rdinit=/init.guarded' };
}

async function assemble(dir, progress) {
  await guestStep(progress);
  const work = mkdtempSync(join(tmpdir(), 'understudy-test-guarded-'));
  try {
    const tree = await unpackRedis(work, progress);
    const cpio = new Cpio();
    for (const name of ['init.guarded', 'bin/start-redis']) {
      cpio.file(name, readFileSync(join(sources, basename(name))), 0o755);
    }
    for (const name of ['redis.conf', 'us-guard.conf']) {
      cpio.file(`etc/${name}`, readFileSync(join(sources, name)));
    }
    cpio.file('bin/us-guard', readFileSync(await guardStep(progress)), 0o755);
    addRedis(cpio, tree);
    // The kernel unpacks one archive over the other.
    const reference = readFileSync(join(cacheDir(), 'guest', guestKey(), 'initrd.gz'));
    const padding = Buffer.alloc(-reference.length & 3);
    const own = gzipSync(cpio.bytes(), { level: 9 });
    writeFileSync(join(dir, 'initrd.gz'), Buffer.concat([reference, padding, own]));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function unpackRedis(work, progress) {
  const apt = guestApt(readJson(join(guestDir, 'guest.json')).suite);
  await apt.update({});
  const wanted = apt.closure(['redis-server']).filter(({ name }) => NEEDED.test(name));
  progress.note(`downloading ${wanted.length} packages`);
  const words = wanted.map(({ name, version }) => `${name}=${version}`);
  await apt.download(words, work, (line) => progress.tick(line));
  const tree = join(work, 'root');
  mkdirSync(tree);
  for (const deb of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', join(work, deb), tree]);
  }
  return tree;
}

function addRedis(cpio, tree) {
  const seen = new Set();
  const need = (file) => {
    const text = output('readelf', ['-d', file]);
    for (const [, name] of text.matchAll(/\(NEEDED\).*\[([^\]]+)\]/g)) {
      if (seen.has(name)) continue;
      seen.add(name);
      const path = LIBRARIES.map((dir) => join(tree, dir, name)).find((one) => existsSync(one));
      if (path === undefined) throw new StepError(`the packages have no ${name}`);
      // The loader is where the reference guest has it.
      if (!name.startsWith('ld-linux')) {
        cpio.file(`lib/x86_64-linux-gnu/${name}`, readFileSync(path), 0o755);
      }
      need(path);
    }
  };
  const program = join(tree, 'usr/bin/redis-server');
  cpio.file('bin/redis-server', readFileSync(program), 0o755);
  need(program);
}
