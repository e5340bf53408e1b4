// SPDX-License-Identifier: Apache-2.0
/**
 * The daemon's unix socket: one JSON object per line, each way.
 *
 *     {"cmd":"status"}                        → {"ok":true,"status":{…}}
 *     {"cmd":"stop","powerdown":false}        → {"ok":true}
 *     {"cmd":"promote"}                       → {"ok":true}
 *     {"cmd":"console-input","text":"ls\n"}   → {"ok":true}      ("base64" for bytes)
 *     {"cmd":"console-attach"}                → {"ok":true}, then {"console":"<base64>"} …
 *
 * An error is {"ok":false,"code":"…","error":"…"}; the connection stays open.
 */
import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import { toJson } from '../base/format.ts';

export interface StatusHandlers {
  status(): object;
  stop(options: { powerdown: boolean }): void;
  promote(): Promise<void> | void;
  consoleInput(bytes: Buffer): boolean;
  /** @returns how to detach */
  consoleAttach(listener: (bytes: Buffer) => void): () => void;
}

const LINE_BYTES_MAX = 1024 * 1024;
/** An attached console that does not read is cut off above this. */
const CONSOLE_BYTES_MAX = 4 * 1024 * 1024;

export class StatusSocket {
  readonly #handlers: StatusHandlers;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  private constructor(handlers: StatusHandlers) {
    this.#handlers = handlers;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** @throws UnderstudyError state-dir when the socket cannot be made */
  static async listen(path: string, handlers: StatusHandlers): Promise<StatusSocket> {
    const socket = new StatusSocket(handlers);
    await new Promise<void>((resolve, reject) => {
      socket.#server.once('error', (cause) => {
        reject(
          new UnderstudyError(
            'state-dir',
            `cannot make the status socket ${path}: ${messageOf(cause)}; ` +
              'set UNDERSTUDY_STATE_DIR to a shorter path that can be written',
            { cause },
          ),
        );
      });
      socket.#server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return socket;
  }

  /** Cuts everyone off. */
  close(): void {
    this.#server.close();
    for (const client of this.#clients) client.end();
    for (const client of this.#clients) client.unref();
  }

  #serve(socket: Socket): void {
    this.#clients.add(socket);
    let rest = '';
    const detach: (() => void)[] = [];
    const gone = (): void => {
      this.#clients.delete(socket);
      for (const leave of detach.splice(0)) leave();
    };
    socket.setEncoding('utf8');
    socket.on('error', gone);
    socket.on('close', gone);
    socket.on('data', (text: string) => {
      rest += text;
      if (rest.length > LINE_BYTES_MAX) {
        socket.destroy();
        return;
      }
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') void this.#answer(socket, line, detach);
    });
  }

  async #answer(socket: Socket, line: string, detach: (() => void)[]): Promise<void> {
    let answer: object;
    try {
      answer = { ok: true, ...(await this.#run(JSON.parse(line), socket, detach)) };
    } catch (error) {
      answer = { ok: false, code: errorCodeOf(error) ?? 'failure', error: messageOf(error) };
    }
    if (!socket.destroyed) socket.write(`${toJson(answer)}\n`);
  }

  async #run(request: unknown, socket: Socket, detach: (() => void)[]): Promise<object> {
    const { cmd, powerdown, text, base64 } = (request ?? {}) as Record<string, unknown>;
    switch (cmd) {
      case 'status':
        return { status: this.#handlers.status() };
      case 'stop':
        this.#handlers.stop({ powerdown: powerdown === true });
        return {};
      case 'promote':
        await this.#handlers.promote();
        return {};
      case 'console-input': {
        const bytes =
          typeof base64 === 'string' ? Buffer.from(base64, 'base64') : Buffer.from(String(text));
        if (!this.#handlers.consoleInput(bytes)) {
          throw new UnderstudyError('not-running', 'the console takes no input here and now');
        }
        return {};
      }
      case 'console-attach':
        detach.push(
          this.#handlers.consoleAttach((bytes) => {
            if (socket.writableLength > CONSOLE_BYTES_MAX) socket.destroy();
            else socket.write(`${toJson({ console: bytes.toString('base64') })}\n`);
          }),
        );
        return {};
      default:
        throw new UnderstudyError('usage', `unknown command ${JSON.stringify(cmd)}`);
    }
  }
}
