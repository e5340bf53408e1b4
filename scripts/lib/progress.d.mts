// SPDX-License-Identifier: Apache-2.0
/** Progress on stderr, one line per step. */
export class Progress {
  constructor(options?: { stream?: NodeJS.WriteStream; quietDone?: boolean });
  begin(name: string): void;
  note(text: string): void;
  tick(text: string): void;
  end(): void;
  finish(): void;
}
