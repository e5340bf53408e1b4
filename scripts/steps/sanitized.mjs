// SPDX-License-Identifier: Apache-2.0
// A copy of the checkout whose addon is built with a sanitizer (docs/fuzzing.md). A copy, so that
// the product has no switch by which another addon is loaded.

import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContentHash } from '../lib/cache.mjs';
import { made } from '../lib/made.mjs';
import { output, run, StepError } from '../lib/run.mjs';
import { projectRoot } from '../paths.mjs';
import { addonWords, NODE_GYP } from './node.mjs';
import { raftKey } from './raft.mjs';

/** What the compiler is told, and the library that has to be in the process before Node. */
export const SANITIZERS = {
  address: {
    // Without `vptr`: the addon and Node have each their own type information.
    flags: '-fsanitize=address,undefined -fno-sanitize=vptr',
    library: 'libasan.so',
  },
  thread: { flags: '-fsanitize=thread', library: 'libtsan.so' },
};

/** Faults that were mended, put back to be found: a file, what is there, and what was. */
export const PLANTS = {
  // Link's end received into the buffer whose frames the courier's thread was writing to disk.
  'end-reads': {
    file: 'native/kvm-exit-log/addon/link/link.cc',
    edits: [
      ['uint8_t unread[16 << 10];', 'uint8_t* const unread = in_.data();'],
      [
        'recv(fd_, unread, sizeof unread, MSG_DONTWAIT)',
        'recv(fd_, unread, in_.size(), MSG_DONTWAIT)',
      ],
    ],
  },
};

const ADDON = 'native/kvm-exit-log';
/** Where the addon is in a checkout. */
export const ADDON_BUILT = join(ADDON, 'build/Release/kvm_exit_log.node');
/** What tests import, or run: daemons from dist, which finds its addon beside it. */
const COPIED = 'bench bin dist docs guest native schema scripts src test'.split(' ');
const LOOSE = ['package.json', 'tsconfig.json', 'tsconfig.test.json'];

const isSource = (name) => !name.startsWith('kvm-exit-log/build/');
const isCopied = (path) => !path.startsWith(join(projectRoot, ADDON, 'build'));

/**
 * @param {keyof typeof SANITIZERS} kind
 * @param {keyof typeof PLANTS | undefined} plant
 * @returns {Promise<string>} the copy
 */
export async function sanitizedCheckout(kind, plant, progress) {
  const addon = await sanitizedAddon(kind, plant, progress);
  const hash = new ContentHash().add('addon', addon).add('root', projectRoot);
  for (const dir of COPIED) hash.addDir(join(projectRoot, dir), dir, isSource);
  const stamp = await made(`sanitized-${kind}`, hash.digest(), 'whole', 1, progress, (dir) => {
    for (const name of [...COPIED, ...LOOSE]) copyInto(dir, name);
    linkModules(dir);
    mkdirSync(join(dir, ADDON_BUILT, '..'), { recursive: true });
    cpSync(addon, join(dir, ADDON_BUILT));
    writeFileSync(join(dir, 'whole'), '');
  });
  return join(stamp, '..');
}

/** By itself: whoever changes a test waits for no compiler. @returns {Promise<string>} the addon */
async function sanitizedAddon(kind, plant, progress) {
  const key = new ContentHash()
    .add('kind', JSON.stringify(SANITIZERS[kind]))
    .add('plant', JSON.stringify(PLANTS[plant] ?? null))
    .addDir(join(projectRoot, ADDON, 'addon'), 'addon')
    .addDir(join(projectRoot, ADDON, 'include'), 'include')
    .addDir(join(projectRoot, ADDON, 'quorum/core'), 'quorum/core')
    .add('libraft', raftKey())
    .addFile(join(projectRoot, ADDON, 'binding.gyp'), 'binding.gyp')
    .add('node', process.version)
    .digest();
  return await made(`sanitized-${kind}-addon`, key, ADDON_BUILT, 2, progress, async (dir) => {
    if (plant === undefined) {
      copyInto(dir, 'native');
      linkModules(dir);
      await compile(kind, dir, ['rebuild', ...(await addonWords(progress))], progress);
      return;
    }
    // All else is compiled already.
    const whole = await sanitizedAddon(kind, undefined, progress);
    const from = whole.slice(0, -ADDON_BUILT.length);
    cpSync(from, dir, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    plantIn(dir, PLANTS[plant]);
    await compile(kind, dir, ['build'], progress);
  });
}

function copyInto(dir, name) {
  cpSync(join(projectRoot, name), join(dir, name), { recursive: true, filter: isCopied });
}

function linkModules(dir) {
  symlinkSync(join(projectRoot, 'node_modules'), join(dir, 'node_modules'));
}

/** @throws StepError when the source has become another: the plant has to be made anew */
function plantIn(dir, { file, edits }) {
  const path = join(dir, file);
  let text = readFileSync(path, 'utf8');
  for (const [now, then] of edits) {
    if (!text.includes(now))
      throw new StepError(`${file} has no ${now}: what is planted is out of date`);
    text = text.replace(now, then);
  }
  writeFileSync(path, text);
}

async function compile(kind, dir, words, progress) {
  const { flags } = SANITIZERS[kind];
  await run(process.execPath, [join(projectRoot, NODE_GYP), ...words], {
    cwd: join(dir, ADDON),
    env: { CXXFLAGS: `${flags} -g -fno-omit-frame-pointer`, LDFLAGS: flags, JOBS: 'max' },
    onLine: (line) => progress.tick(line),
  });
}

/** Where the compiler has the sanitizer's library. */
export function sanitizerLibrary(kind) {
  return output('g++', [`-print-file-name=${SANITIZERS[kind].library}`]);
}
