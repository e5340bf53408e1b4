// SPDX-License-Identifier: Apache-2.0
/** Replicas as processes on loopback (quorum-side.ts), killed, paused and begun again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';

export interface SideSettings {
  readonly dir: string;
  readonly id: number;
  readonly ports: readonly number[];
  readonly cluster: number;
  readonly durable: boolean;
  /** Folder of its keys; null: plaintext. */
  readonly keys: string | null;
}

interface Said {
  readonly event: string;
  readonly role?: string;
  readonly term?: number;
  readonly id?: number | null;
  readonly index?: number;
  readonly text?: string;
  readonly reason?: string;
  readonly problem?: string | null;
}

const PROGRAM = fileURLToPath(new URL('quorum-side.ts', import.meta.url));

export class QuorumSide {
  readonly settings: SideSettings;
  #child: ChildProcess;
  #ended: Promise<unknown>;
  /** Since its last start. */
  said: Said[] = [];
  stderr = '';

  constructor(settings: SideSettings) {
    this.settings = settings;
    [this.#child, this.#ended] = this.#spawn();
  }

  #spawn(): [ChildProcess, Promise<unknown>] {
    this.said = [];
    const words = ['--import', 'tsx', PROGRAM, JSON.stringify(this.settings)];
    const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'pipe'] });
    if (child.stdout === null) throw new Error('a pipe was asked for');
    createInterface(child.stdout).on('line', (line) => this.said.push(JSON.parse(line) as Said));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    child.stdin?.on('error', () => {});
    return [child, new Promise((resolve) => child.on('close', resolve))];
  }

  get committed(): string[] {
    return this.said.flatMap(({ event, text = '' }) => (event === 'committed' ? [text] : []));
  }

  get role(): string {
    return this.said.findLast(({ event }) => event === 'role')?.role ?? 'follower';
  }

  get term(): number {
    return this.said.findLast(({ event }) => event === 'role')?.term ?? 0;
  }

  has(event: string): boolean {
    return this.said.some((one) => one.event === event);
  }

  propose(text: string): void {
    this.#child.stdin?.write(`${text}\n`);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  again(): void {
    [this.#child, this.#ended] = this.#spawn();
  }
}

export class QuorumSides {
  readonly #dir = mkdtempSync(join(tmpdir(), 'understudy-quorum-'));
  readonly sides: QuorumSide[] = [];

  private constructor() {}

  static async begin(options: {
    readonly replicas: number;
    readonly durable: boolean;
    readonly keys?: readonly string[];
  }): Promise<QuorumSides> {
    const it = new QuorumSides();
    const ports = await Promise.all(Array.from({ length: options.replicas }, freePort));
    for (const [i] of ports.entries()) {
      it.sides.push(
        new QuorumSide({
          dir: join(it.#dir, String(i + 1)),
          id: i + 1,
          ports,
          cluster: 7,
          durable: options.durable,
          keys: options.keys?.[i] ?? null,
        }),
      );
    }
    return it;
  }

  /** The one of these that leads; the one with the highest term where an older one does not know yet. */
  leader(among: readonly QuorumSide[] = this.sides): QuorumSide | null {
    const all = among.filter(({ role }) => role === 'leader');
    return all.sort((a, b) => b.term - a.term)[0] ?? null;
  }

  others(side: QuorumSide): QuorumSide[] {
    return this.sides.filter((one) => one !== side);
  }

  /** What each side has said, for a test that fails. */
  describe(): string {
    return this.sides
      .map(({ settings, said, stderr }) => {
        const last = said.slice(-12).map((one) => JSON.stringify(one));
        return `replica ${settings.id}:\n  ${last.join('\n  ')}\n${stderr}`;
      })
      .join('\n');
  }

  async destroy(): Promise<void> {
    await Promise.all(this.sides.map((side) => side.kill()));
    rmSync(this.#dir, { recursive: true });
  }
}
