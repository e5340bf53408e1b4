// SPDX-License-Identifier: Apache-2.0
/**
 * One target in a process of its own: `tsx loop.ts TARGET SECONDS SEED KEEP [FILE]`. What it is at
 * is in KEEP/current before it is run, so that whoever started it has what a crash or a hang was
 * of. With FILE that input alone.
 *
 * No coverage is measured. What an input led to (what was read, or why it was refused) is its
 * behaviour, and inputs with a behaviour of their own are what the next ones are made of. They are
 * in KEEP/corpus, and the next run begins with them. How many there are is said as libFuzzer says
 * it (growth.ts).
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { seedsOf } from '#scripts/steps/fuzz-targets.mjs';
import { errorCodeOf, messageOf } from '../../../src/base/errors.ts';
import { Random } from '../../simulation/random.ts';
import { pick } from './mutate.ts';
import { must, refuses, type Target } from './target.ts';
import { SCRIPT_TARGETS } from './targets.ts';

/** For one input, wherever a control message or a request is read; of CPU time. */
const INPUT_MS_MAX = 250;
const INPUT_BYTES_GROWN_MAX = 64 * 1024 * 1024;
const KEPT_MAX = 2000;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

const memory = (): number => {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

/** @throws what is a finding. @returns its behaviour */
async function tryInput(target: Target, input: Buffer): Promise<string> {
  try {
    // For a test: that what is found is told.
    must(process.env.UNDERSTUDY_FUZZ_PLANTED === undefined, 'a finding was planted');
    const read = await target.run(Buffer.from(input));
    return `read ${shapeOf(read)}`;
  } catch (error) {
    if (!refuses(target, error)) throw error;
    const why = messageOf(error).replace(/0x[0-9a-f]+|"[^"]*"|[0-9]+/g, '_');
    return `${errorCodeOf(error) ?? ''} ${why.slice(0, 100)}`;
  }
}

/** What was read, without its values. */
function shapeOf(read: unknown): string {
  if (Array.isArray(read)) return `[${Math.min(read.length, 4)}${read.slice(0, 2).map(shapeOf)}]`;
  if (typeof read !== 'object' || read === null) return String(read).slice(0, 30);
  return Object.entries(read)
    .map(([key, value]) => `${key}:${Array.isArray(value) ? value.length : typeof value}`)
    .join()
    .slice(0, 200);
}

/** Also that it takes no longer, and no more memory, than such an input may. */
async function measured(target: Target, input: Buffer): Promise<string> {
  const before = memory();
  let ms = Number.POSITIVE_INFINITY;
  let behaviour = '';
  // Whatever is compiled, or collected, meanwhile is not its fault.
  for (let tries = 0; tries < 4 && ms > INPUT_MS_MAX; tries++) {
    const from = cpuMs();
    behaviour = await tryInput(target, input);
    ms = Math.min(ms, cpuMs() - from);
    const grown = memory() - before;
    if (grown > INPUT_BYTES_GROWN_MAX) throw new Error(`memory grew by ${grown} bytes`);
  }
  if (ms > INPUT_MS_MAX) throw new Error(`it took ${Math.round(ms)} ms of CPU, four times`);
  return behaviour;
}

function filesIn(folder: string): Buffer[] {
  return existsSync(folder)
    ? readdirSync(folder).map((each) => readFileSync(join(folder, each)))
    : [];
}

async function loop(target: Target, endMs: number, random: Random, keep: string) {
  const current = openSync(join(keep, 'current'), 'w');
  const learned = join(keep, 'corpus');
  const corpus = [...target.seeds(), ...filesIn(seedsOf(target.name)), ...filesIn(learned)];
  const given = [...corpus];
  const givenCount = given.length;
  const known = new Set<string>();
  let runs = 0;
  for (; performance.now() < endMs; runs++) {
    if (runs === givenCount) console.log(`INITED ft: ${known.size}`);
    const seed = given.shift();
    const input = seed ?? target.mutate(pick(corpus, random), pick(corpus, random), random);
    ftruncateSync(current, 0);
    writeSync(current, input, 0, input.length, 0);
    const behaviour = await measured(target, input);
    if (known.has(behaviour) || known.size >= KEPT_MAX) continue;
    known.add(behaviour);
    if (seed !== undefined) continue;
    console.log(`NEW ft: ${known.size}`);
    corpus.push(Buffer.from(input));
    writeFileSync(join(learned, createHash('sha1').update(input).digest('hex')), input);
  }
  return { runs, behaviours: known.size };
}

const [name = '', seconds = '1', seed = '1', keep = '', file] = process.argv.slice(2);
const target = SCRIPT_TARGETS.find((each) => each.name === name);
if (target === undefined) throw new Error(`there is no target ${name}`);
const endMs = performance.now() + Number(seconds) * 1000;
const result =
  file === undefined
    ? await loop(target, endMs, new Random(Number(seed)), keep)
    : await measured(target, readFileSync(file));
console.log(JSON.stringify(result));
process.exit(0);
