// SPDX-License-Identifier: Apache-2.0
// Programs of native/kvm-exit-log/quorum/: the simulation and the measurement, each with libraft
// in it; and variants of the simulation with an error in them.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ContentHash, listFiles } from '../lib/cache.mjs';
import { made } from '../lib/made.mjs';
import { run, StepError, tryOutput } from '../lib/run.mjs';
import { projectRoot } from '../paths.mjs';
import {
  compileRaft,
  filesOfRaftPatch,
  layOutRaft,
  patchRaft,
  RAFT_FLAGS,
  RAFT_SOURCES,
  raftKey,
} from './raft.mjs';

const NATIVE = join(projectRoot, 'native/kvm-exit-log');
const QUORUM = join(NATIVE, 'quorum');
/** What the addon's log and wire are checked with. */
const SHARED = ['addon/bits/checksum.cc'];
/** Rooms that each program is made from, besides `core`. */
const PROGRAMS = { simulation: ['simulation'], measure: ['measure'] };

const CXX = [
  '-std=c++17',
  '-fno-strict-aliasing',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-DXXH_INLINE_ALL',
];
const SANITIZE = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/**
 * The programs, built unless the cache has them.
 * @param {{ sanitized?: boolean }} [options] watched by ASan and UBSan
 * @returns {Promise<string>} their folder
 */
export async function quorumPrograms(progress, { sanitized = false } = {}) {
  const name = sanitized ? 'quorum-sanitized' : 'quorum';
  const flags = sanitized ? [...RAFT_FLAGS, ...SANITIZE] : RAFT_FLAGS;
  const simulation = await made(name, key(flags), 'simulation', 1, progress, (dir) =>
    build(dir, flags, progress),
  );
  return dirname(simulation);
}

function key(flags) {
  const hash = new ContentHash()
    .add('raft', raftKey())
    .add('flags', [...CXX, ...flags].join(' '))
    .addFile(join(projectRoot, 'scripts/steps/quorum.mjs'), 'step')
    .addDir(join(NATIVE, 'addon/bits'), 'bits')
    .addDir(QUORUM, 'quorum', (file) => /\.(cc|h)$/.test(file))
    .add('g++', tryOutput('g++', ['--version']) ?? '');
  return hash.digest();
}

const objectOf = (source) => `${source.replace(/[/.]/g, '_')}.o`;
const raftDir = (dir) => join(dir, 'raft');
const includes = (dir) => [
  ...['-I', QUORUM, '-I', join(NATIVE, 'addon'), '-I', join(NATIVE, 'include')],
  ...['-isystem', join(raftDir(dir), 'include')],
];

function sourcesOf(room) {
  return listFiles(join(QUORUM, room), (file) => file.endsWith('.cc')).map(
    (file) => `quorum/${room}/${file}`,
  );
}

/** @param {string} from where the source lies, in place of NATIVE */
async function compileCxx(dir, source, object, flags, from = NATIVE) {
  await run('g++', [...CXX, ...flags, ...includes(dir), '-c', join(from, source), '-o', object]);
}

async function build(dir, flags, progress) {
  await layOutRaft(raftDir(dir), progress);
  progress.note('compiling');
  const objects = join(dir, 'objects');
  mkdirSync(objects);
  for (const name of RAFT_SOURCES) {
    progress.tick(`libraft ${name}`);
    await compileRaft(raftDir(dir), name, join(objects, `raft_${name}.o`), flags);
  }
  const raft = RAFT_SOURCES.map((name) => join(objects, `raft_${name}.o`));
  await run('ar', ['rcs', join(dir, 'libraft.a'), ...raft]);
  const shared = [...SHARED, ...sourcesOf('core')];
  for (const source of [...shared, ...Object.values(PROGRAMS).flat().flatMap(sourcesOf)]) {
    progress.tick(basename(source));
    await compileCxx(dir, source, join(objects, objectOf(source)), flags);
  }
  for (const [program, rooms] of Object.entries(PROGRAMS)) {
    const parts = [...shared, ...rooms.flatMap(sourcesOf)];
    if (rooms.flatMap(sourcesOf).length === 0) continue;
    await link(
      join(dir, program),
      parts.map((part) => join(objects, objectOf(part))),
      dir,
      flags,
    );
  }
}

function link(program, objects, dir, flags) {
  return run('g++', [...flags, ...objects, join(dir, 'libraft.a'), '-lpthread', '-o', program]);
}

/**
 * The simulation with something wrong in it.
 * @param {{ name: string, file?: string, right?: string, wrong?: string, without?: string }} plant
 *   `file`: below native/kvm-exit-log, or libraft/src/…; `without`: one of our patches, taken back
 * @returns {Promise<string>} the program
 */
export async function plantedSimulation(plant, progress) {
  const base = await quorumPrograms(progress);
  const variant = new ContentHash()
    .add('base', basename(base))
    .add('plant', JSON.stringify(plant))
    .digest();
  return made('quorum-planted', variant, 'simulation', 24, progress, async (dir) => {
    const files =
      plant.without === undefined
        ? [plant.file]
        : filesOfRaftPatch(plant.without).map((file) => `libraft/${file}`);
    const objects = new Map(
      [
        ...RAFT_SOURCES.map((name) => `raft_${name}.o`),
        ...[...SHARED, ...sourcesOf('core'), ...sourcesOf('simulation')].map(objectOf),
      ].map((name) => [name, join(base, 'objects', name)]),
    );
    for (const file of files) copySource(base, file, dir);
    if (plant.without !== undefined) await patchRaft(join(dir, 'libraft'), plant.without, ['-R']);
    else edit(join(dir, plant.file), plant);
    for (const file of files) {
      const raft = /^libraft\/src\/(\w+)\.c$/.exec(file)?.[1];
      const object = raft === undefined ? objectOf(file) : `raft_${raft}.o`;
      if (!objects.has(object)) throw new StepError(`nothing is built from ${file}`);
      if (raft === undefined) await compileCxx(base, file, join(dir, object), RAFT_FLAGS, dir);
      else
        await compileRaft(raftDir(base), raft, join(dir, object), RAFT_FLAGS, join(dir, 'libraft'));
      objects.set(object, join(dir, object));
    }
    await run('g++', [
      ...RAFT_FLAGS,
      ...objects.values(),
      '-lpthread',
      '-o',
      join(dir, 'simulation'),
    ]);
  });
}

function copySource(base, file, dir) {
  const from = file.startsWith('libraft/')
    ? join(raftDir(base), file.slice('libraft/'.length))
    : join(NATIVE, file);
  if (!existsSync(from)) throw new StepError(`there is no ${file}`);
  mkdirSync(dirname(join(dir, file)), { recursive: true });
  writeFileSync(join(dir, file), readFileSync(from));
}

function edit(path, { name, file, right, wrong }) {
  const source = readFileSync(path, 'utf8');
  if (source.split(right).length !== 2)
    throw new StepError(`${name}: ${file} has not one ${right}`);
  writeFileSync(
    path,
    source.replace(right, () => wrong),
  );
}
