// SPDX-License-Identifier: Apache-2.0
/** Talks to the daemons of this host through their status sockets. */
import { readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { stateRoot } from '../base/paths.ts';
import type { DaemonStatus } from './facts.ts';
import { type DaemonRole, socketPath } from './state-dir.ts';

export interface DaemonRef {
  readonly name: string;
  readonly role: DaemonRole;
}

/** What a daemon answers, JSON numbers in place of bigints. */
export type Answer = { ok: boolean; code?: string; error?: string } & Record<string, unknown>;

const ANSWER_TIMEOUT_MS = 5000;

/**
 * One request, one answer.
 * @throws UnderstudyError not-running when no daemon listens there
 */
export function ask(daemon: DaemonRef, request: object, timeoutMs = ANSWER_TIMEOUT_MS) {
  return new Promise<Answer>((resolve, reject) => {
    const socket = createConnection(socketPath(daemon.name, daemon.role));
    let text = '';
    const fail = (why: string): void => {
      socket.destroy();
      reject(
        new UnderstudyError('not-running', `no ${daemon.role} of "${daemon.name}" answers: ${why}`),
      );
    };
    socket.setEncoding('utf8').setTimeout(timeoutMs, () => fail(`silent for ${timeoutMs} ms`));
    socket.on('error', (error) => fail(messageOf(error)));
    socket.on('close', () => fail('it closed the connection'));
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      resolve(JSON.parse(text.slice(0, end)) as Answer);
      socket.destroy();
    });
  });
}

/** As ask, for a request that must succeed. @throws UnderstudyError */
export async function command(daemon: DaemonRef, request: object): Promise<Answer> {
  const answer = await ask(daemon, request);
  if (!answer.ok) {
    throw new UnderstudyError(
      answer.code === 'not-running' ? 'not-running' : 'failure',
      `the ${daemon.role} of "${daemon.name}" says: ${answer.error ?? 'no'}`,
    );
  }
  return answer;
}

/** Daemons that have a folder here, whether they run or not. */
export function knownDaemons(name?: string): DaemonRef[] {
  let folders: string[];
  try {
    folders = readdirSync(stateRoot());
  } catch {
    return [];
  }
  return folders.flatMap((folder) => {
    const match = /^(.+)-(primary|backup|replica)$/.exec(folder);
    if (match === null || (name !== undefined && match[1] !== name)) return [];
    return [{ name: match[1] ?? '', role: match[2] as DaemonRole }];
  });
}

/** Status of the daemons that answer. */
export async function runningDaemons(
  name?: string,
): Promise<{ daemon: DaemonRef; status: DaemonStatus }[]> {
  const found = await Promise.all(
    knownDaemons(name).map(async (daemon) => {
      try {
        const answer = await ask(daemon, { cmd: 'status' });
        return [{ daemon, status: answer.status as DaemonStatus }];
      } catch {
        return [];
      }
    }),
  );
  return found.flat();
}
