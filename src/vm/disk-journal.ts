// SPDX-License-Identifier: Apache-2.0
/**
 * What a backup by epochs left beside its images when it died: they are brought to an epoch, or
 * refused, before anybody starts from them (docs/disk-journal.md).
 */
import { existsSync, rmSync } from 'node:fs';
import { redoDisks } from '../../native/kvm-exit-log/index.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { UnderstudyError, writeError } from '../base/errors.ts';
import type { VmConfig } from './config.ts';
import { journalOf, markIncomplete } from './disk.ts';

/**
 * Images of a VM that are claimed.
 * @param say what was done, if anything was
 * @param otherwise joins: images that cannot be brought to an epoch are marked, for a join to
 *   complete them
 * @throws UnderstudyError image-journal, exit code 2; disk-full, log-write
 */
export function settleDisks(
  config: VmConfig,
  say: (event: string, text: string) => void,
  otherwise: 'refuses' | 'joins',
): void {
  const images = config.disks.map(({ image }) => image);
  const [first] = images;
  if (first === undefined || !images.some((image) => existsSync(journalOf(image)))) return;
  const journal = journalOf(first);
  try {
    const redone = redoDisks(images);
    if (redone === null) return;
    const { epochs, last, dropped } = redone;
    if (epochs > 0) say('disk-journal', `the disks are at epoch ${last} again, by ${journal}`);
    if (dropped) say('disk-journal', `an epoch that was not acknowledged is dropped (${journal})`);
  } catch (cause) {
    if (!(cause instanceof CorruptLogError)) throw writeError(`the disks of ${config.name}`, cause);
    if (otherwise === 'refuses') throw refusal(journal, images, cause);
    for (const image of images) markIncomplete(image);
    rmSync(journal, { force: true });
    say(
      'disk-journal',
      `${journal} is of no use: ${cause.message}; a join has to complete the disks`,
    );
  }
}

function refusal(journal: string, images: readonly string[], cause: Error): UnderstudyError {
  const marks = images.map(journalOf).filter((path) => existsSync(path));
  return new UnderstudyError(
    'image-journal',
    `${images.join(' and ')} may be between two epochs of a VM, and ${journal} cannot be used: ` +
      `${cause.message}. Start from the image of the side whose VM was live; or let this side ` +
      `join it (\`understudy backup\`); or put whole images there and remove ${marks.join(' and ')}`,
    { cause },
  );
}
