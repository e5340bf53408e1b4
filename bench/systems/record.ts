// SPDX-License-Identifier: Apache-2.0
/** Ours, recording: `understudy record`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DemoChild } from '../../src/lab/child.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { NOTHING, type System } from './system.ts';
import { readOr, running, understudy, writeVm } from './vm.ts';

const RECORDING = 'recording';

export interface RecordOptions {
  readonly name?: string;
  readonly title?: string;
  /** Further words for `understudy record`. */
  readonly words?: readonly string[];
  /** It takes what is typed (`RunningVm.type`). */
  readonly typed?: true;
}

export function record(options: RecordOptions = {}): System {
  const { name = 'record', title = 'ours, recording', typed, words = [] } = options;
  const more = [...(typed === true ? [] : ['--no-console']), ...words];
  return {
    name,
    title,
    baseline: 'plain',
    verified: true,
    replays: null,
    absent: async () => null,
    async start(dir, spec) {
      const network = makeNetwork();
      try {
        const file = await writeVm(spec, { dir: join(dir, 'vm'), network, side: 'primary' });
        const out = join(dir, RECORDING);
        const child = new DemoChild(network.prefix, {
          words: understudy('record', file, '--out', out, '--json', ...more),
          env: { UNDERSTUDY_CATALOG_DIR: 'off' },
        });
        const read = (): string => readOr(join(out, 'console.log'));
        return {
          ...running({ network, children: [child], read }),
          type: async (text) => child.write(text),
          stop: () => child.interrupt(),
        };
      } catch (error) {
        network.remove();
        throw error;
      }
    },
    harvest: async (dir) => ({ ...NOTHING, facts: factsOf(recordingOf(dir)) }),
  };
}

/** The recording of a `record` run. */
export function recordingOf(dir: string): string {
  return join(dir, RECORDING);
}

/** What its end.json says. */
export function factsOf(recording: string): Record<string, number> {
  const end = JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8'));
  const { icount, log_bytes, records, batches, wall_s } = end;
  return { instructions: Number(icount), log_bytes, records, batches, wall_s };
}
