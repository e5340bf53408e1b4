// SPDX-License-Identifier: Apache-2.0
/**
 * One target in a process of its own: `tsx loop.ts TARGET SECONDS SEED KEEP [FILE]`. What it is at
 * is in KEEP/current before it is run, so that whoever started it has what a crash or a hang was
 * of. With FILE that input alone.
 *
 * What an input led to (what was read, or why it was refused) is its behaviour. Inputs with a
 * behaviour of their own, or that reach blocks of code which were not reached before (blocks.ts), are
 * what the next ones are made of. They are in KEEP/corpus, and the next run begins with them. How
 * many behaviours and blocks there are is said as libFuzzer says it (growth.ts).
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
import { Blocks } from './blocks.ts';
import { pick } from './mutate.ts';
import { must, refuses, type Target } from './target.ts';
import { SCRIPT_TARGETS } from './targets.ts';

/** For one input, wherever a control message or a request is read; of CPU time. */
const INPUT_MS_MAX = 250;
const INPUT_BYTES_GROWN_MAX = 64 * 1024 * 1024;
const BEHAVIOURS_MAX = 2000;
/** For so many it is asked together what blocks they reached. */
const BATCH_INPUTS = 128;

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

class Loop {
  readonly #target: Target;
  readonly #random: Random;
  readonly #learned: string;
  readonly #current: number;
  readonly #corpus: Buffer[];
  readonly #behaviours = new Set<string>();
  readonly #blocks = new Blocks();
  #runs = 0;

  constructor(target: Target, random: Random, keep: string) {
    this.#target = target;
    this.#random = random;
    this.#learned = join(keep, 'corpus');
    this.#current = openSync(join(keep, 'current'), 'w');
    this.#corpus = [target.seeds(), filesIn(seedsOf(target.name)), filesIn(this.#learned)].flat();
  }

  async run(endMs: number): Promise<{ runs: number }> {
    for (const input of this.#corpus) await this.#isNew(input);
    this.#blocks.know(this.#blocks.fresh());
    this.#say('INITED');
    while (performance.now() < endMs) {
      const batch: Buffer[] = [];
      for (let n = 0; n < BATCH_INPUTS && performance.now() < endMs; n++) {
        const [seed, other] = [pick(this.#corpus, this.#random), pick(this.#corpus, this.#random)];
        const input = this.#target.mutate(seed, other, this.#random);
        if (await this.#isNew(input)) this.#keep(input);
        else batch.push(input);
      }
      await this.#findBlocks(batch, this.#blocks.fresh());
    }
    return { runs: this.#runs };
  }

  /** Whether its behaviour is. */
  async #isNew(input: Buffer): Promise<boolean> {
    ftruncateSync(this.#current, 0);
    writeSync(this.#current, input, 0, input.length, 0);
    this.#runs += 1;
    const behaviour = await measured(this.#target, input);
    if (this.#behaviours.has(behaviour) || this.#behaviours.size >= BEHAVIOURS_MAX) return false;
    this.#behaviours.add(behaviour);
    return true;
  }

  /** Who of them reached what is new: by halves, each run once more. */
  async #findBlocks(batch: readonly Buffer[], fresh: readonly string[]): Promise<void> {
    const [first] = batch;
    if (fresh.length > 0 && batch.length > 1) {
      const half = batch.length >> 1;
      for (const part of [batch.slice(0, half), batch.slice(half)]) {
        for (const input of part) await this.#isNew(input);
        await this.#findBlocks(part, this.#blocks.fresh());
      }
    }
    // Also what depends on the moment, and was not reached again.
    this.#blocks.know(fresh);
    if (fresh.length > 0 && batch.length === 1 && first !== undefined) this.#keep(first);
  }

  #keep(input: Buffer): void {
    this.#say('NEW');
    this.#corpus.push(input);
    const name = createHash('sha1').update(input).digest('hex');
    writeFileSync(join(this.#learned, name), input);
  }

  #say(what: string): void {
    console.log(`${what} ft: ${this.#behaviours.size + this.#blocks.size}`);
  }
}

const [name = '', seconds = '1', seed = '1', keep = '', file] = process.argv.slice(2);
const target = SCRIPT_TARGETS.find((each) => each.name === name);
if (target === undefined) throw new Error(`there is no target ${name}`);
const endMs = performance.now() + Number(seconds) * 1000;
const result =
  file === undefined
    ? await new Loop(target, new Random(Number(seed)), keep).run(endMs)
    : await measured(target, readFileSync(file));
console.log(JSON.stringify(result));
process.exit(0);
