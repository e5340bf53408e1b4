// SPDX-License-Identifier: Apache-2.0
/** Runs the simulation of replicas (native/kvm-exit-log/quorum/simulation/). */
import { spawn } from 'node:child_process';
import type { QuorumPlant } from '#scripts/steps/quorum.mjs';

export interface QuorumFault {
  readonly seed: number;
  readonly fault: string;
}

export interface QuorumRun {
  readonly seeds: number;
  readonly answers: number;
  readonly entries: number;
  readonly terms: number;
  readonly changes: number;
  readonly trims: number;
  readonly installs: number;
  readonly faults: readonly QuorumFault[];
}

/** @returns what it said; an assertion of libraft's is a fault of its seed, and its last */
export async function runQuorum(program: string, words: readonly string[]): Promise<QuorumRun> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-20_000);
  });
  const code = await new Promise<number | string>((resolve, reject) => {
    child.on('error', reject).on('close', (exit, signal) => resolve(exit ?? signal ?? ''));
  });
  const lines = said.split('\n').filter((line) => line !== '');
  const all = lines.map((line) => JSON.parse(line) as Partial<QuorumRun> & Partial<QuorumFault>);
  const faults = all
    .filter((line): line is QuorumFault => line.fault !== undefined)
    .map(({ seed, fault }) => ({ seed, fault: fault === 'aborted' ? errors.trim() : fault }));
  const sums = all.find(({ seeds }) => seeds !== undefined);
  if (code !== 0 && faults.length === 0) throw new Error(`${program}: ${code}: ${errors}`);
  const none = { seeds: 0, answers: 0, entries: 0, terms: 0, changes: 0, trims: 0, installs: 0 };
  return { ...none, ...sums, faults };
}

/** What the simulation has to find, and how. */
export interface FoundBy {
  readonly plant: QuorumPlant;
  readonly words: readonly string[];
}

const VOTE_NOT_SYNCED: QuorumPlant = {
  name: 'a vote is not synced',
  file: 'quorum/core/vote.cc',
  right: '  } else {\n    put(slot.generation, &slot, sizeof slot);\n',
  wrong: '  } else {\n    file_->write(slot.generation % 2 * kSlotBytes, &slot, sizeof slot);\n',
};
const COMMITTED_BY_COUNTING: QuorumPlant = {
  name: "an older term's entry is committed by counting",
  file: 'libraft/src/replication.c',
  right: 'if (term < r->current_term) {\n            break;',
  wrong: 'if (term > r->current_term) {\n            break;',
};

const KEEPS_VOTE =
  '  if ((update.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0) keepVote();\n';
const STORES = '  if ((update.flags & (RAFT_UPDATE_ENTRIES)) != 0) store(update, given);\n';
const SENDS = '  if ((update.flags & (RAFT_UPDATE_MESSAGES)) != 0) sendAll(update);\n';

/** Seeds until one finds it, from where one does. */
const random = (count: number, seed = 1): readonly string[] => [
  ...['--first', '--seed', String(seed), '--count', String(count)],
];

export const PLANTS: readonly FoundBy[] = [
  { plant: VOTE_NOT_SYNCED, words: ['--schedule', 'two-votes', '--first', '--count', '20'] },
  { plant: VOTE_NOT_SYNCED, words: random(200) },
  { plant: COMMITTED_BY_COUNTING, words: ['--schedule', 'figure-8'] },
  {
    plant: {
      name: 'an entry counts before it is synced',
      file: 'quorum/core/replica.cc',
      right:
        'options_.isDurable ? log_->syncedIndex() : log_->lastIndex();\n  if (stored <= reported_)',
      wrong: 'log_->lastIndex();\n  if (stored <= reported_)',
    },
    words: random(200),
  },
  {
    plant: {
      name: 'a torn entry is taken for whole',
      file: 'quorum/core/segment_format.cc',
      right: ' || exitlog::xxh64(bytes, head.bytes) != head.payloadChecksum) return false;',
      wrong: ') return false;',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'what is damaged is cut off as a torn end',
      file: 'quorum/core/entry_log.cc',
      right: 'if (synced > last_) {',
      wrong: 'if (synced > last_ && number == 0) {',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a start trusts what a failed sync left in the page cache',
      file: 'quorum/core/entry_log.cc',
      right: 'if (!hasTorn && (last <= synced_ || !options_.isDurable)) continue;',
      wrong: 'if (!hasTorn && (last > 0 || !options_.isDurable)) continue;',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a start trusts a vote whose sync failed',
      file: 'quorum/core/vote.cc',
      right: '  put(newest.generation, &newest, sizeof newest);\n',
      wrong: '  if (size == 0) put(newest.generation, &newest, sizeof newest);\n',
    },
    words: random(60, 103300),
  },
  {
    plant: {
      name: 'a vote is written when the messages have left',
      file: 'quorum/core/replica.cc',
      right: `${KEEPS_VOTE}${STORES}${SENDS}`,
      wrong: `${STORES}${SENDS}${KEEPS_VOTE}`,
    },
    words: random(2000, 290),
  },
  {
    plant: {
      name: 'the base moves before the checkpoint is on the disk',
      file: 'quorum/simulation/world_checkpoints.cc',
      right: '  file->sync();\n  files.rename(made, kName);\n  files.syncNames();\n',
      wrong: '  files.rename(made, kName);\n',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a base is not synced',
      file: 'quorum/core/segment_format.cc',
      right: '  file->sync();\n  files.rename(made, kBase);\n',
      wrong: '  files.rename(made, kBase);\n',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'segments are removed before the base is on the disk',
      file: 'quorum/core/segment_format.cc',
      right:
        '  writeBase(*files, cluster, kept);\n  for (const std::string& name : dropped) files->remove(name);\n',
      wrong:
        '  for (const std::string& name : dropped) files->remove(name);\n  writeBase(*files, cluster, kept);\n',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a checkpoint takes the place of a log that has more',
      file: 'quorum/core/replica.cc',
      right: 'if (hasAll) return false;',
      wrong: 'if (hasAll && base.index <= log.base().index) return false;',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a base is set to what is not synced',
      file: 'quorum/core/replica.cc',
      right: 'index > std::min(told_, stored)',
      wrong: 'index > std::max(told_, stored)',
    },
    words: random(400),
  },
  {
    plant: {
      name: 'a base says who the replicas were once',
      file: 'quorum/core/replica.cc',
      right: 'std::prev(changes_.upper_bound(index))',
      wrong: 'changes_.begin()',
    },
    words: random(400),
  },
];
