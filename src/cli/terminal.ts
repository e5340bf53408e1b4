// SPDX-License-Identifier: Apache-2.0
/** The terminal, or whatever stdin is, as a VM's keyboard. */

/** Ctrl-], as telnet has it: Ctrl-C belongs to the guest. */
const QUIT = 0x1d;

export interface KeyboardOptions {
  readonly type: (bytes: Buffer) => void;
  /** Whether typing must pause for now. */
  readonly full: () => boolean;
  readonly quit: () => void;
}

export interface Keyboard {
  /** Restores the terminal. Idempotent. */
  close(): void;
}

const FULL_RETRY_MS = 20;

/** Whether stdin is a terminal, so that keys go to the guest raw. */
export function isInteractive(): boolean {
  return process.stdin.isTTY === true;
}

/** Sends stdin to the guest, a terminal in raw mode, until `close` or its end. */
export function openKeyboard(options: KeyboardOptions): Keyboard {
  const { stdin } = process;
  const interactive = isInteractive();
  let retry: NodeJS.Timeout | null = null;
  const onData = (bytes: Buffer): void => {
    const quitAt = interactive ? bytes.indexOf(QUIT) : -1;
    options.type(quitAt < 0 ? bytes : bytes.subarray(0, quitAt));
    if (quitAt >= 0) options.quit();
    if (!options.full()) return;
    stdin.pause();
    retry ??= setInterval(() => {
      if (options.full()) return;
      if (retry !== null) clearInterval(retry);
      retry = null;
      stdin.resume();
    }, FULL_RETRY_MS);
  };
  if (interactive) stdin.setRawMode(true);
  stdin.on('data', onData);
  // A stdin that is closed, or breaks, is a keyboard that nobody uses.
  stdin.on('error', () => {});
  let open = true;
  return {
    close() {
      if (!open) return;
      open = false;
      if (retry !== null) clearInterval(retry);
      stdin.off('data', onData);
      if (interactive) stdin.setRawMode(false);
      stdin.pause();
      stdin.unref?.();
    },
  };
}
