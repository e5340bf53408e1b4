// SPDX-License-Identifier: Apache-2.0
/** Whether somebody at an address takes a TCP connection. */
import { createConnection } from 'node:net';
import { messageOf } from '../base/errors.ts';

/** Why not, or null. */
export function probeTcp(host: string, port: number, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const timer = setTimeout(() => end(`no connection in ${timeoutMs} ms`), timeoutMs);
    const end = (why: string | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(why);
    };
    socket.on('connect', () => end(null));
    socket.on('error', (error) => end(messageOf(error)));
  });
}
