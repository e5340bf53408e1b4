// SPDX-License-Identifier: Apache-2.0
/** What a log that cannot be used is thrown as. */
import { UnderstudyError } from './errors.ts';

/** Where it was found. */
export interface FilePlace {
  readonly file: string;
  /** Bytes from the start of the file to the frame at fault. */
  readonly offset: number;
}

export type CorruptLogCode = 'log-corrupt' | 'log-truncated' | 'log-version' | 'log-foreign';

/**
 * Bytes that are not a log, are no longer what was written, or belong to another
 * VM or version: `code` says which. Exit code 11.
 */
export class CorruptLogError extends UnderstudyError {
  /** What was expected and what was found, without the place. */
  readonly reason: string;
  readonly place: FilePlace | null;

  constructor(
    reason: string,
    code: CorruptLogCode = 'log-corrupt',
    place: FilePlace | null = null,
  ) {
    super(code, place === null ? reason : `${place.file} at byte ${place.offset}: ${reason}`, {
      details: place === null ? { reason } : { reason, file: place.file, offset: place.offset },
    });
    this.name = 'CorruptLogError';
    this.reason = reason;
    this.place = place;
  }

  /** The same error with the place where it was found. */
  at(file: string, offset: number): CorruptLogError {
    return new CorruptLogError(this.reason, this.code as CorruptLogCode, { file, offset });
  }
}
