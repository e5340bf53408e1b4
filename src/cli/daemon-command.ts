// SPDX-License-Identifier: Apache-2.0
/** What `primary`, `backup` and `replica` share: signals, progress, the last line. */
import { type ErrorCode, UnderstudyError } from '../base/errors.ts';
import type { SignalSource } from '../daemon/signal-source.ts';
import type { Outcome } from '../replica/outcome.ts';
import { printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

export interface DaemonFlags {
  readonly console?: true;
  readonly json?: true;
  readonly stateDir?: string;
}

/**
 * Runs a daemon in the foreground.
 * @throws UnderstudyError for an outcome that is none to be happy with
 */
export async function runDaemonCommand(
  role: 'primary' | 'backup' | 'replica',
  name: string,
  flags: DaemonFlags,
  run: (say: (text: string) => void, signals: SignalSource) => Promise<Outcome>,
): Promise<void> {
  if (flags.stateDir !== undefined) process.env.UNDERSTUDY_STATE_DIR = flags.stateDir;
  let count = 0;
  let listener: (count: number) => void = () => {};
  const handler = onSignals((now) => {
    count = now;
    listener(now);
  });
  try {
    const outcome = await run((text) => say(`${role} ${name}: ${text}`), {
      listen(next) {
        listener = next;
        if (count > 0) next(count);
      },
    });
    if (!outcome.ok) {
      if (outcome.error instanceof UnderstudyError) throw outcome.error;
      const code: ErrorCode = outcome.code === 'stopped' ? 'failure' : outcome.code;
      throw new UnderstudyError(code, outcome.reason, {
        ...(outcome.error === undefined ? {} : { cause: outcome.error }),
        details: { name, role },
      });
    }
    if (flags.json === true) {
      printJson({ name, role, state: 'stopped', reason: outcome.reason, ok: true });
    }
  } finally {
    handler.close();
  }
}
