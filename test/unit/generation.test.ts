// SPDX-License-Identifier: Apache-2.0
/** Which image of a VM may be powered on once all of its sides are down. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Arbiter, Claimant } from '../../src/arbiter/arbiter.ts';
import { dirArbiter } from '../../src/arbiter/dir.ts';
import { noArbiter } from '../../src/arbiter/none.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import { ImageGeneration } from '../../src/daemon/generation.ts';
import { generationFile } from '../../src/vm/generation.ts';

const X = 'a'.repeat(32);
const Y = 'b'.repeat(32);
const generation = suite('generation');
const root = mkdtempSync(join(tmpdir(), 'understudy-test-generation-'));
generation.after(() => rmSync(root, { recursive: true }));

/** One daemon run on one host, whose image stays. */
interface Daemon {
  readonly claimant: Claimant;
  readonly own: ImageGeneration;
  readonly image: string;
  readonly said: string[];
}

class Hosts {
  readonly dir = mkdtempSync(join(root, 'case-'));
  arbiter: Arbiter;
  #runs = 0;

  constructor(arbiter: Arbiter | null = null) {
    mkdirSync(join(this.dir, 'arbiter'));
    this.arbiter = arbiter ?? dirArbiter(join(this.dir, 'arbiter'), { timeoutMs: 60_000 });
  }

  run(host: string, role: Claimant['role'], acceptsOlder = false, arbiter = this.arbiter): Daemon {
    const image = join(this.dir, `${host}.raw`);
    writeFileSync(image, 'an image');
    this.#runs += 1;
    const instance = `run ${this.#runs}`;
    const claimant: Claimant = { role, name: 'shop', host, pid: this.#runs, instance };
    const said: string[] = [];
    const report = (event: string): void => void said.push(event);
    const images = [image];
    const own = new ImageGeneration({ arbiter, claimant, images, report, acceptsOlder });
    return { claimant, own, image, said };
  }

  /** A pair since power-on, of which both are dead. */
  async pair(): Promise<{ a: Daemon; b: Daemon }> {
    const a = this.run('a', 'primary');
    const b = this.run('b', 'backup');
    await this.claim(a, X, 1);
    await a.own.check();
    await a.own.powersOn(X);
    b.own.follows(X, 1);
    await b.own.settle();
    return { a, b };
  }

  async claim({ claimant }: Daemon, vmId: string, term: number): Promise<void> {
    const { result } = await this.arbiter.claim(vmId, term, claimant);
    assert.is(result, 'won', `term ${term} of ${claimant.host}`);
  }

  /** What `understudy primary` says there now; '': it takes the image. */
  async refusal(host: string): Promise<string> {
    try {
      await this.run(host, 'primary').own.check();
      return '';
    } catch (error) {
      assert.instance(error, UnderstudyError);
      assert.is((error as UnderstudyError).code, 'image-older');
      assert.is((error as UnderstudyError).exitCode, 2);
      return (error as Error).message;
    }
  }
}

generation(
  'both die: the primary starts, the backup is refused and told whose is newer',
  async () => {
    const hosts = new Hosts();
    await hosts.pair();
    assert.is(await hosts.refusal('a'), '');
    const refusal = await hosts.refusal('b');
    assert.match(refusal, `disk image ${join(hosts.dir, 'b.raw')} is not known to be the newest`);
    assert.match(
      refusal,
      /followed term 1 .*; the newest is the image of primary shop on a \(process 1\)/,
    );
    assert.match(refusal, '`understudy primary --accept-older-image`');
  },
);

generation('the primary dies, then the survivor: the survivor starts', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  await hosts.claim(b, X, 2);
  b.own.leads(X, 2);
  await b.own.settle();
  assert.is(await hosts.refusal('b'), '');
  const refusal = await hosts.refusal('a');
  assert.match(
    refusal,
    /it is of term 1; the newest is the image of backup shop on b .*, with term 2/,
  );
});

generation('the backup dies, then the primary that went on alone: it starts', async () => {
  const hosts = new Hosts();
  const { a } = await hosts.pair();
  await hosts.claim(a, X, 2);
  assert.is(await hosts.refusal('a'), '');
  assert.match(await hosts.refusal('b'), /with term 2/);
});

generation('roles that have swapped: the last that led starts', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  await hosts.claim(b, X, 2);
  b.own.leads(X, 2);
  await b.own.settle();
  const again = hosts.run('a', 'backup');
  again.own.follows(X, 2);
  await again.own.settle();
  assert.is(await hosts.refusal('b'), '');
  assert.match(await hosts.refusal('a'), /followed term 2 .* backup shop on b/);
  await hosts.claim(again, X, 3);
  again.own.leads(X, 3);
  await again.own.settle();
  assert.is(await hosts.refusal('a'), '');
  assert.match(await hosts.refusal('b'), /it is of term 2; .* backup shop on a .* term 3/);
});

generation('a take-over that did not come to its end: neither, and it says why', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  await hosts.claim(b, X, 2);
  assert.match(await hosts.refusal('a'), /it is of term 1; .* backup shop on b/);
  assert.match(
    await hosts.refusal('b'),
    /taking over with it, in term 2, .* the side that had term 1 is the newest/,
  );
});

generation("the operator's word makes an older image the newest, and fences the VM", async () => {
  const hosts = new Hosts();
  const { a } = await hosts.pair();
  const word = hosts.run('b', 'primary', true);
  await word.own.check();
  await word.own.powersOn(Y);
  assert.match(await hosts.refusal('a'), /earlier power-on; .* primary shop on b/);
  assert.is(await hosts.refusal('b'), '');
  assert.is((await hosts.arbiter.claim(X, 2, a.claimant)).result, 'lost');
});

generation('a power-on fences a backup that has not noticed yet', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  const again = hosts.run('a', 'primary');
  await again.own.check();
  await again.own.powersOn(Y);
  assert.is((await hosts.arbiter.claim(X, 2, b.claimant)).result, 'lost');
});

generation('of two power-ons at once one wins', async () => {
  const hosts = new Hosts();
  const { a, b } = await hosts.pair();
  for (const { own } of [a, b]) own.ended(X, 1);
  await Promise.all([a.own.settle(), b.own.settle()]);
  const both = [hosts.run('a', 'primary'), hosts.run('b', 'primary')];
  for (const { own } of both) await own.check();
  const ends = await Promise.allSettled(
    both.map(({ own }, index) => own.powersOn(index === 0 ? Y : 'c'.repeat(32))),
  );
  const lost = ends.filter((end) => end.status === 'rejected');
  assert.is(lost.length, 1);
  const code = (lost[0]?.reason as UnderstudyError | undefined)?.code;
  assert.ok(code === 'fenced' || code === 'image-older', code);
  const refused = await Promise.all(['a', 'b'].map((host) => hosts.refusal(host)));
  assert.is(refused.filter((refusal) => refusal === '').length, 1);
});

generation('the VM has ended: either side starts, and then the other is older', async () => {
  const hosts = new Hosts();
  const { a, b } = await hosts.pair();
  for (const { own } of [a, b]) own.ended(X, 1);
  await Promise.all([a.own.settle(), b.own.settle()]);
  assert.is(await hosts.refusal('a'), '');
  assert.is(await hosts.refusal('b'), '');
  await hosts.run('b', 'primary').own.powersOn(Y);
  assert.is(await hosts.refusal('b'), '');
  assert.match(await hosts.refusal('a'), /earlier power-on; .* primary shop on b/);
});

/** A power-on that is killed before its claim of that number. */
async function killed(hosts: Hosts, vmId: string, claims: number): Promise<void> {
  let left = claims;
  const dying: Arbiter = {
    ...hosts.arbiter,
    claim: (...words) => {
      if (left === 0) throw new Error('killed');
      left -= 1;
      return hosts.arbiter.claim(...words);
    },
  };
  const daemon = hosts.run('a', 'primary', false, dying);
  await hosts.claim(daemon, vmId, 1);
  const end = await daemon.own.powersOn(vmId).catch((error: Error) => error.message);
  assert.is(end, 'killed', `before claim ${claims}`);
}

generation(
  'killed between any steps of a power-on, twice, the same image starts again',
  async () => {
    for (const isAlone of [false, true]) {
      for (const [first, second] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const) {
        const hosts = new Hosts();
        const { a } = await hosts.pair();
        if (isAlone) await hosts.claim(a, X, 2);
        for (const [index, claims] of [first, second].entries()) {
          await killed(hosts, 'de'.charAt(index).repeat(32), claims);
          assert.is(await hosts.refusal('a'), '', `${first} ${second}, alone: ${isAlone}`);
          assert.ok((await hosts.refusal('b')) !== '');
        }
      }
    }
  },
);

generation('killed between the last claim and the mark, too', async () => {
  const hosts = new Hosts();
  await hosts.pair();
  const daemon = hosts.run('a', 'primary');
  await hosts.claim(daemon, Y, 1);
  const before = JSON.parse(readFileSync(generationFile(daemon.image), 'utf8')) as object;
  await daemon.own.powersOn(Y);
  const mark = { ...before, instance: daemon.claimant.instance };
  writeFileSync(generationFile(daemon.image), JSON.stringify(mark));
  assert.is(await hosts.refusal('a'), '');
  await killed(hosts, 'd'.repeat(32), 1);
  assert.is(await hosts.refusal('a'), '');
  assert.ok((await hosts.refusal('b')) !== '');
});

generation('an image without a mark is taken only as the first of its VM', async () => {
  const hosts = new Hosts();
  assert.is(await hosts.refusal('c'), '');
  await hosts.pair();
  assert.match(await hosts.refusal('c'), /nothing beside it says .* primary shop on a/);
});

generation('a damaged mark is named', async () => {
  const hosts = new Hosts();
  const { a } = await hosts.pair();
  for (const text of ['', '{}', '{"format": 2}', 'x']) {
    writeFileSync(generationFile(a.image), text);
    assert.match(await hosts.refusal('a'), /a\.raw\.generation is damaged/);
  }
});

generation(
  'terms that were removed by hand: who powered it on has it, until somebody else did',
  async () => {
    const hosts = new Hosts();
    await hosts.pair();
    rmSync(join(hosts.dir, 'arbiter', X), { recursive: true });
    assert.is(await hosts.refusal('a'), '');
    assert.match(await hosts.refusal('b'), /followed term 1/);
    await hosts.run('a', 'primary').own.powersOn(Y);
    assert.is(await hosts.refusal('a'), '');
  },
);

generation('an arbiter that does not know the VM, or cannot be asked, is no yes', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  const known = hosts.arbiter;
  hosts.arbiter = dirArbiter(mkdtempSync(join(root, 'other-')));
  assert.match(await hosts.refusal('a'), /the arbiter does not know it/);
  assert.match(await hosts.refusal('b'), /followed term 1/);
  hosts.arbiter = known;
  b.own.ended(X, 1);
  await b.own.settle();
  hosts.arbiter = dirArbiter(mkdtempSync(join(root, 'other-')));
  assert.is(await hosts.refusal('b'), '', 'what has ended is as new as anything');
  hosts.arbiter = dirArbiter(join(root, 'away'));
  const { own } = hosts.run('a', 'primary');
  const error = await own.check().catch((reason: unknown) => reason);
  assert.is((error as UnderstudyError).code, 'arbiter-unreachable');
});

generation('without an arbiter nobody takes over: the backup alone is refused', async () => {
  const hosts = new Hosts(noArbiter());
  await hosts.pair();
  assert.is(await hosts.refusal('a'), '');
  assert.match(await hosts.refusal('b'), /followed term 1 and never was live/);
});

generation('a mark that cannot be made is reported, and nothing else happens', async () => {
  const hosts = new Hosts();
  const { b } = await hosts.pair();
  rmSync(generationFile(b.image));
  mkdirSync(generationFile(b.image));
  b.own.leads(X, 2);
  await b.own.settle();
  assert.equal(b.said, ['generation-not-written']);
});

generation.run();
