// SPDX-License-Identifier: Apache-2.0
/**
 * What keys cost a link: frames to and fro, and as many as it takes, over plaintext and over TLS in
 * turns, between two links of one process.
 *
 *   npm run bench:link -- [--rounds 20]
 *
 * One JSON object on stdout; the same as a table on stderr. With VMs at both ends:
 * `npm run bench:speed -- --only netperf --systems lockstep,lockstep-tls`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Keys, Link, Listener, type Security } from '../native/kvm-exit-log/index.ts';
import { rightAligned, textTable } from '../src/base/text-table.ts';
import { Authority } from '../src/keys/authority.ts';
import { otherSide, type Side, sideName } from '../src/vm/sides.ts';
import { encodeGoodbye } from '../src/wire/messages.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '20' } } });
const ROUNDS = Number(values.rounds);
const PINGS = 500;
const BULK_FRAMES = 400;
const VM = 'bench';
/** What a batch with a packet, with a full one, and a piece of state come to. */
const FRAME_BYTES = [200, 1700, 60_000] as const;
const KINDS = ['plaintext', 'tls'] as const;
type Kind = (typeof KINDS)[number];

const frameOf = (bytes: number): Buffer =>
  encodeGoodbye({ reason: 'x', message: 'x'.repeat(bytes - 120), lastSequence: 1n, term: 1 });

/** Two links, connected; who gets a frame calls `heard`. */
class Ends {
  heardA: () => void = () => {};
  heardB: () => void = () => {};
  readonly a: Link;
  b: Link | null = null;
  readonly #listener: Listener;

  private constructor(listener: Listener, security: Security | null) {
    this.#listener = listener;
    this.a = Link.to('127.0.0.1', listener.port, security);
    this.a.start(this.#events(() => this.heardA()));
  }

  static async make(of: Readonly<Record<Side, Security>> | null): Promise<Ends> {
    let ends: Ends;
    const accepted = (link: Link): void => {
      ends.b = link;
      link.start(ends.#events(() => ends.heardB()));
    };
    const listener = await Listener.on('127.0.0.1', 0, accepted, () => of?.primary ?? null);
    ends = new Ends(listener, of?.backup ?? null);
    await ends.pings(frameOf(200), 1);
    return ends;
  }

  #events(frame: () => void) {
    const closed = (code: string, message: string): never => {
      throw new Error(`${code}: ${message}`);
    };
    return { frame, closed, drained: () => {} };
  }

  /** @returns the times of round trips, us */
  pings(frame: Buffer, count: number): Promise<number[]> {
    const times: number[] = [];
    return new Promise((resolve) => {
      let fromMs = performance.now();
      this.heardB = () => this.b?.send(frame);
      this.heardA = () => {
        const nowMs = performance.now();
        times.push((nowMs - fromMs) * 1000);
        fromMs = nowMs;
        if (times.length === count) resolve(times);
        else this.a.send(frame);
      };
      this.a.send(frame);
    });
  }

  /** @returns MB/s */
  async bulk(frame: Buffer, count: number): Promise<number> {
    const fromMs = performance.now();
    let left = count;
    await new Promise<void>((resolve) => {
      this.heardB = () => {
        left -= 1;
        if (left === 0) resolve();
      };
      for (let n = 0; n < count; n++) this.a.send(frame);
    });
    return (count * frame.length) / (performance.now() - fromMs) / 1000;
  }

  close(): void {
    this.a.drop();
    this.b?.drop();
    this.#listener.close();
  }
}

function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-keys-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const authority = Authority.init(join(dir, 'ca'));
const securityOf = (side: Side): Security => {
  const folder = authority.issue(VM, side);
  const read = (name: string): string => readFileSync(join(folder, `${name}.pem`), 'utf8');
  const keys = new Keys({ ca: read('ca'), cert: read('cert'), key: read('key'), crl: null });
  return { keys, peerName: sideName(VM, otherSide(side)) };
};
const ends: Readonly<Record<Kind, Ends>> = {
  plaintext: await Ends.make(null),
  tls: await Ends.make({ primary: securityOf('primary'), backup: securityOf('backup') }),
};

const seen = new Map<string, Record<Kind, number[]>>();
const note = (figure: string, kind: Kind, all: readonly number[]): void => {
  const row = seen.get(figure) ?? { plaintext: [], tls: [] };
  row[kind].push(...all);
  seen.set(figure, row);
};
for (let round = 0; round < ROUNDS; round++) {
  for (const bytes of FRAME_BYTES) {
    const frame = frameOf(bytes);
    for (const kind of KINDS) {
      note(`${bytes} bytes, round trip, us`, kind, await ends[kind].pings(frame, PINGS));
    }
  }
  const frame = frameOf(60_000);
  for (const kind of KINDS) note('bulk, MB/s', kind, [await ends[kind].bulk(frame, BULK_FRAMES)]);
}
for (const kind of KINDS) ends[kind].close();

const rows = [...seen].map(([figure, of]) => {
  const [plaintext, tls] = [median(of.plaintext), median(of.tls)];
  return { figure, plaintext, tls, more: tls - plaintext, ratio: tls / plaintext };
});
const table = textTable({ head: ['p50', ...KINDS, 'more', 'ratio'], compact: true });
for (const { figure, plaintext, tls, more, ratio } of rows) {
  const numbers = [plaintext, tls, more].map((value) => value.toFixed(1));
  table.push([figure, ...[...numbers, ratio.toFixed(2)].map(rightAligned)]);
}
console.error(table.toString());
console.log(JSON.stringify({ rounds: ROUNDS, figures: rows }));
