// SPDX-License-Identifier: Apache-2.0
/**
 * Logs of protocols by checkpoint. They have what a VM put out, and where its epochs end, and not
 * what it took in: nobody can execute it again by such a log.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UnderstudyError } from '../base/errors.ts';
import { DEFAULT_PROTOCOL } from '../epochs/registry.ts';
import { CHECKPOINT_OF, KIND } from '../log/kinds.ts';
import { LogReader } from '../log/log-reader.ts';
import { isSegmentName } from '../log/segment.ts';
import { recordingPaths } from './folder.ts';

/** An epoch is a batch or a few; those of a VM that runs unprotected end none. */
const BATCHES_LOOKED_AT_MAX = 1000;

/** @param dir a log's folder, or one that has logs in log/, such as a daemon's */
export async function isByEpochs(dir: string): Promise<boolean> {
  for (const log of logsIn(dir)) if (await endsEpochs(log)) return true;
  return false;
}

/**
 * What needs a recording is not to be had of such a log, and never was.
 * @throws UnderstudyError not-exact
 */
export async function refuseByEpochs(dir: string, what: string): Promise<void> {
  if (existsSync(recordingPaths(dir).manifest) || !(await isByEpochs(dir))) return;
  throw new UnderstudyError(
    'not-exact',
    `${dir} has the log of a VM that was protected by checkpoints: ${what} needs one that can be ` +
      `executed again; take protocol = "${DEFAULT_PROTOCOL}" with history = "10m", or ` +
      '`understudy record`',
  );
}

function logsIn(dir: string): string[] {
  const logs = join(dir, 'log');
  const folders = [dir, logs, ...namesIn(logs).map((name) => join(logs, name))];
  return folders.filter((folder) => namesIn(folder).some(isSegmentName));
}

/** None in what is no folder. */
function namesIn(dir: string): string[] {
  return statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(dir) : [];
}

/** False too where damage comes first: what is wrong with a log is its reader's to say. */
async function endsEpochs(log: string): Promise<boolean> {
  let batches = 0;
  try {
    for await (const { batch } of new LogReader(log, { tail: 'torn', fromIndex: 'oldest' })) {
      for (const { kind, channel } of batch.records()) {
        if (kind === KIND.CHECKPOINT && channel === CHECKPOINT_OF.EPOCH) return true;
      }
      batches += 1;
      if (batches === BATCHES_LOOKED_AT_MAX) return false;
    }
  } catch {
    // as above
  }
  return false;
}
