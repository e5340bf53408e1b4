// SPDX-License-Identifier: Apache-2.0
/**
 * What the replication link shows to who listens on the network: with plaintext all of the guest,
 * with keys nothing of it; and a pair with keys survives its primary.
 */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { run, scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const root = scratch('link-trust');
const SIDES = ['primary', 'backup'] as const;
const NAME = 'pair';

/** Lines of [replication]; each side's keys lie beside its VM.toml. */
async function withKeys(dir: string): Promise<readonly string[]> {
  const keys = join(dir, 'keys');
  for (const words of [['init'], ['issue', NAME]]) {
    const { code, stderr } = await run(['keys', ...words, '--dir', keys]);
    assert.is(code, 0, stderr);
  }
  for (const side of SIDES) {
    mkdirSync(join(dir, side), { recursive: true });
    cpSync(join(keys, `${NAME}-${side}`), join(dir, side, 'tls'), { recursive: true });
  }
  const files = ['ca', 'cert', 'key', 'crl'].map((key) => `${key} = "tls/${key}.pem"`);
  return ['[replication.tls]', ...files];
}

/** How often something is seen of what passes, and how much passes. */
class Sniffer {
  bytes = 0;
  seen = 0;
  #last = Buffer.alloc(0);
  readonly #wanted: Buffer;
  #isReady = false;

  constructor(pair: Pair, wanted: Buffer) {
    this.#wanted = wanted;
    const child = pair.spawn('python3', join(import.meta.dirname, '../lib/sniff.py'), '7700');
    child.stdout?.on('data', (bytes: Buffer) => this.#heard(bytes));
    child.stderr?.on('data', (words: Buffer) => {
      if (words.includes('ready')) this.#isReady = true;
      else process.stderr.write(words);
    });
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  #heard(bytes: Buffer): void {
    this.bytes += bytes.length;
    const all = Buffer.concat([this.#last, bytes]);
    for (let at = all.indexOf(this.#wanted); at >= 0; at = all.indexOf(this.#wanted, at + 1)) {
      this.seen += 1;
    }
    this.#last = all.subarray(Math.max(0, all.length - this.#wanted.length + 1));
  }
}

const trust = suite('trust of the link');

for (const protocol of ['lockstep', 'remus'] as const) {
  for (const link of ['plaintext', 'tls'] as const) {
    trust(
      `${protocol} over ${link}: packets, memory and disk on the wire, and a kill`,
      async () => {
        const dir = join(root, `${protocol}-${link}`);
        const keys = link === 'tls' ? await withKeys(dir) : [];
        const pair = Pair.start(dir, await referenceGuest(), [`protocol = "${protocol}"`, ...keys]);
        try {
          // A request's payload: it comes in a packet, is in the guest's memory, on its disk, and
          // in the answer.
          const request = requestFrame(7, 0);
          const sniffer = new Sniffer(pair, request.subarray(32, 64));
          await pair.until('the sniffer listens', () => sniffer.isReady);
          await pair.until('the service listens', () =>
            pair.console('primary').includes('listening'),
          );
          assert.is((await pair.status('primary'))?.link, link);
          const wire = pair.connect(7);
          wire.send(request);
          await pair.until('the answer', () => wire.received.equals(request));
          await pair.until('it was shipped', () => sniffer.bytes > 100_000);
          if (link === 'tls') {
            assert.is(sniffer.seen, 0, 'in clear');
          } else {
            // lockstep ships what comes in; remus what goes out, memory and disk.
            const places = protocol === 'remus' ? 3 : 1;
            await pair.until(`in ${places} places`, () => sniffer.seen >= places);
          }

          pair.signal('primary', 'SIGKILL');
          await pair.until('the backup is live', async () => {
            return (await pair.status('backup'))?.state === 'needs-backup';
          });
          const next = requestFrame(7, 1);
          wire.send(next);
          const both = Buffer.concat([request, next]);
          await pair.until('the answer of the survivor', () => wire.received.equals(both));
          wire.end();
        } finally {
          await pair.end();
        }
      },
    );
  }
}

trust.run();
