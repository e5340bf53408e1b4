// SPDX-License-Identifier: Apache-2.0
/** Where two images differ the newer one is named: in a hello, and by the numbers of marks. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Claimant } from '../../src/arbiter/arbiter.ts';
import { dirArbiter } from '../../src/arbiter/dir.ts';
import { type ImageMark, newerOf } from '../../src/arbiter/newest.ts';
import { noArbiter } from '../../src/arbiter/none.ts';
import { ImageGeneration } from '../../src/daemon/generation.ts';
import { arbiterRecord, imageFacts } from '../../src/daemon/image-facts.ts';
import { readGeneration } from '../../src/vm/generation.ts';
import { checkHello, helloOf, type VmFacts } from '../../src/wire/hello.ts';

const root = mkdtempSync(join(tmpdir(), 'understudy-newer-image-'));
process.on('exit', () => rmSync(root, { recursive: true, force: true }));
const X = 'a'.repeat(32);
const Y = 'b'.repeat(32);
const newer = suite('newer image');

function mark(
  state: ImageMark['state'],
  term: number,
  generation: number | null = null,
  vmId = X,
): ImageMark {
  return { name: 'shop', vm_id: vmId, term, state, instance: 'run', generation };
}

for (const [what, a, b] of [
  ['a later power-on', mark('follows', 1, 8, Y), mark('ended', 4, 7)],
  ['a later term', mark('live', 2), mark('live', 1)],
  ['live, and its backup', mark('live', 1), mark('follows', 1)],
  ['live, and a backup that joined it later', mark('live', 2), mark('follows', 2)],
  ['an end, and a backup that has not come to it', mark('ended', 1), mark('follows', 3)],
] as const) {
  newer(`${what} is newer, whichever is asked for first`, () => {
    assert.is(newerOf(a, b), a);
    assert.is(newerOf(b, a), a);
  });
}

newer('where marks do not tell, nothing is said', () => {
  for (const [a, b] of [
    [null, mark('live', 2)],
    [mark('live', 1, null, Y), mark('live', 2)],
    [mark('live', 1, 3, Y), mark('live', 2)],
    [mark('follows', 1), mark('follows', 2)],
    [mark('ended', 1), mark('ended', 1)],
  ] as const) {
    assert.is(newerOf(a, b), null);
    assert.is(newerOf(b, a), null);
  }
});

function factsWith(own: ImageMark | null, host: string, hash: bigint): VmFacts {
  return {
    name: 'shop',
    qemuBuildId: 'aaaa',
    firmware: {},
    configHash: 'cccc',
    disks: [{ name: 'disk.raw', bytes: 1n << 30n, xxh64: hash }],
    marks: [own],
    arbiter: '',
    durability: 'memory',
    protocol: 'lockstep',
    epochs: 'never',
    host,
    agentVersion: '0',
  };
}

/** What a primary with one image says to a backup with another. */
function said(primary: ImageMark | null, backup: ImageMark | null): string {
  const hello = helloOf(factsWith(backup, 'hostB', 2n));
  const refusal = checkHello(hello, factsWith(primary, 'hostA', 1n));
  assert.is(refusal?.code, 'disk-differs');
  return refusal?.message ?? '';
}

newer('a hello of a backup whose image is newer says so, and does not advise to lose it', () => {
  const words = said(mark('live', 1, 3), mark('live', 2, 3));
  assert.match(
    words,
    /the primary's is of generation 3, term 1, live, the backup's of generation 3/,
  );
  assert.match(words, "the backup's is newer; stop both, and start `understudy primary` on hostB");
  assert.not.match(words, "copy the primary's image");
});

newer('a hello of a backup whose image is older says which to copy', () => {
  const words = said(mark('live', 2, 3), mark('follows', 1, 3));
  assert.match(words, "a backup's: the primary's is newer; copy it to the backup");
  assert.match(said(null, mark('live', 9)), "copy the primary's image to the backup");
});

newer('a mark of a hello that is nonsense is none', () => {
  const hello = helloOf(factsWith(mark('live', 2, 3), 'hostB', 2n));
  for (const text of ['x', `${X} 3 2 dead`, `${X} 3 99999999999 live`, '']) {
    const lie = { ...hello, settings: { ...hello.settings, 'image/0': text } };
    const refusal = checkHello(lie, factsWith(mark('live', 1, 3), 'hostA', 1n));
    assert.match(refusal?.message ?? '', "; copy the primary's image to the backup");
  }
});

class Pair {
  readonly dir = mkdtempSync(join(root, 'case-'));
  readonly arbiter;

  constructor(isShared: boolean) {
    mkdirSync(join(this.dir, 'arbiter'));
    const path = join(this.dir, 'arbiter');
    this.arbiter = isShared ? dirArbiter(path, { timeoutMs: 60_000 }) : noArbiter();
  }

  image(host: string): string {
    return join(this.dir, `${host}.raw`);
  }

  run(host: string, role: Claimant['role'], instance: string) {
    const images = [this.image(host)];
    writeFileSync(this.image(host), 'an image');
    const claimant: Claimant = { role, name: 'shop', host, pid: 1, instance };
    const { arbiter } = this;
    const report = (event: string) => assert.unreachable(event);
    const own = new ImageGeneration({ arbiter, claimant, images, report, acceptsOlder: false });
    return { own, claimant };
  }
}

newer('marks of both sides have the number of the power-on', async () => {
  const pair = new Pair(true);
  for (const [number, vmId] of [X, Y].entries()) {
    const a = pair.run('a', 'primary', `a${number}`);
    const b = pair.run('b', 'backup', `b${number}`);
    await pair.arbiter.claim(vmId, 1, a.claimant);
    await a.own.powersOn(vmId);
    b.own.follows(vmId, 1);
    await b.own.settle();
    for (const host of ['a', 'b']) {
      assert.is(readGeneration(pair.image(host))?.generation, number + 1, host);
    }
    const facts = await imageFacts([pair.image('a'), pair.image('b')], pair.arbiter);
    assert.equal(
      facts.map((one) => one.newest),
      [true, false],
    );
    assert.match(facts[1]?.older_because ?? '', 'followed term 1');
    const record = await arbiterRecord(pair.arbiter, 'shop');
    assert.equal([record.generation, record.vm_id, record.holder?.term], [number + 1, vmId, 1]);
  }
});

newer('without an arbiter the image itself counts', async () => {
  const pair = new Pair(false);
  for (const number of [1, 2, 3]) {
    await pair.run('a', 'primary', String(number)).own.powersOn(X);
    assert.is(readGeneration(pair.image('a'))?.generation, number);
  }
});

newer.run();
