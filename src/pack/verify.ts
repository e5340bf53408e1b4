// SPDX-License-Identifier: Apache-2.0
/** Whether a recording is, in every byte that a replay relies on, what was recorded. */
import { UnderstudyError } from '../base/errors.ts';
import { LogEndFinder } from '../log/log-end.ts';
import { LogReader } from '../log/log-reader.ts';
import { listSegments } from '../log/segment.ts';
import type { Recording } from '../recording/folder.ts';
import { checkContent } from '../replay/replayer.ts';

/** @throws UnderstudyError log-* */
export async function verifyContent(recording: Recording): Promise<void> {
  await checkContent(recording);
  const { log } = recording.paths;
  const finder = new LogEndFinder();
  const fromIndex = (await listSegments(log))[0]?.index ?? 1;
  const tail = recording.end === null ? 'torn' : 'whole';
  const vmId = Buffer.from(recording.manifest.vm_id, 'hex');
  const reader = new LogReader(log, { vmId, tail, fromIndex });
  for await (const { batch } of reader) finder.see(batch);
  if (recording.end !== null && finder.end() === null) {
    throw new UnderstudyError(
      'log-truncated',
      `${log}: the log has no END, but end.json says that the recording was complete: ` +
        'batches are missing from its end',
    );
  }
}
