// SPDX-License-Identifier: Apache-2.0
/** Where a log is entered, by who does not have it from its beginning. */

/** Where the log goes on for a backup that starts at a checkpoint: its first batch. */
export interface LogPlace {
  readonly sequence: bigint;
  readonly recordBase: bigint;
  readonly dataBase: bigint;
  readonly prevChecksum: bigint;
}
