// SPDX-License-Identifier: Apache-2.0
/**
 * The stream of epochs of a real pair is damaged, has a piece too few or twice, or ends with the
 * link in the middle of one: it is named, exactly one side goes on, and the client's one connection
 * loses nothing. A debugger does it, at the place where the pieces pass.
 *
 *   SEED=N npm test integration/epoch-faults
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { randomFrom } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { killWithGdb, type Stop } from '../lib/gdb.ts';
import { disksHold } from '../lib/held-disks.ts';
import { EPOCH_PROTOCOLS } from '../lib/killed-pair.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const root = scratch('epoch-faults');
const faults = suite('a fault within an epoch');

/** Nobody is declared dead while a debugger is attached; a link that is gone is noticed. */
const PATIENT = ['heartbeat_ms = 500', 'heartbeat_missed = 30', 'stuck_ms_max = 15000'];
const WINDOW = 4;
const ANSWERS = 20;
const PASSAGES_MAX = 50;
const NOTICED_MS = 60_000;
const SIDES = ['primary', 'backup'] as const;

const TAKE = 'exitlog::ImageFollower::takeState';
const PUT = 'exitlog::States::put';

const OUT_OF_TURN = /primary-lost: the primary sent piece of state (\d+) where (\d+) is due/;
/** The piece that is missing was its epoch's last one: the records' end comes before it. */
const NO_END = /primary-lost: the primary sent the end of epoch \d+ without its state/;

interface Fault {
  readonly what: string;
  /** Whose daemon it is done to. */
  readonly at: Side;
  readonly stops: readonly Stop[];
  /** The backup says so; null: silence alone tells. */
  readonly named: RegExp | null;
  /** How far the piece that came is ahead of the one that is due, where one came. */
  readonly ahead?: 1 | -1;
  /** The replication link alone: the client's network is another. */
  readonly cutsLink?: true;
}

const FAULTS: readonly Fault[] = [
  {
    what: 'a byte of a piece is another',
    at: 'backup',
    stops: [
      { at: TAKE, when: '$rdx > 300', does: 'set {char}($rsi + 200) = {char}($rsi + 200) ^ 1' },
    ],
    named: /primary-lost: the primary sent a damaged piece of state: piece checksum/,
  },
  {
    what: 'a piece is missing',
    at: 'primary',
    stops: [{ at: PUT, does: 'return' }],
    named: new RegExp(`${OUT_OF_TURN.source}|${NO_END.source}`),
    ahead: 1,
  },
  {
    what: 'a piece comes twice',
    at: 'primary',
    stops: [
      { at: PUT, does: `call ((void (*)(void *, void *)) '${PUT}(exitlog::Outlet*)')($rdi, $rsi)` },
    ],
    named: OUT_OF_TURN,
    ahead: -1,
  },
  {
    what: 'the link ends within a piece',
    at: 'primary',
    stops: [{ at: PUT }, { at: 'exitlog::Link::send', does: 'set $rdx = $rdx / 2', finish: true }],
    named: null,
    cutsLink: true,
  },
];

FAULTS.forEach((fault, index) => {
  const protocol = EPOCH_PROTOCOLS[(index + seed) % EPOCH_PROTOCOLS.length] ?? '';
  const passage = 1 + Math.floor(random() * PASSAGES_MAX);
  faults(`${protocol}: ${fault.what}`, async () => {
    console.log(`SEED=${seed}, passage ${passage}`);
    const dir = join(root, String(index));
    const lines = [`protocol = "${protocol}"`, ...PATIENT];
    const pair = Pair.start(dir, await referenceGuest(), lines);
    let load: NumberedLoad | null = null;
    try {
      const listens = () => pair.console('primary').includes('listening');
      await pair.until('the service listens', listens, 120_000);
      load = new NumberedLoad(pair, seed, WINDOW);
      await load.more(ANSWERS);
      const answered = load.answered;
      const pid = Number((await pair.status(fault.at))?.pid);
      await killWithGdb({
        pid,
        stops: fault.stops,
        passage,
        library: 'kvm_exit_log',
        before: fault.cutsLink === true ? `ip -n ${pair.netns} link set lo down` : 'true',
        spared: true,
        script: `${dir}.gdb`,
        timeoutMs: 60_000,
      });
      const survivor = await goesOnAlone(pair);
      const loser = survivor === 'primary' ? 'backup' : 'primary';
      await load.more(ANSWERS);
      await load.finish();
      console.log(`the ${survivor} went on, ${load.answered} answers`);
      pair.signal(survivor, 'SIGKILL');
      const [, backup] = await Promise.all(SIDES.map((side) => pair.ended(side)));
      isNamed(fault, backup?.stderr ?? '');
      disksHold(dir, loser, seed, answered);
      disksHold(dir, survivor, seed, load.answered);
    } finally {
      load?.end();
      await pair.end();
    }
  });
});

faults.run();

function isNamed({ named, ahead }: Fault, said: string): void {
  if (named === null) return;
  const found = named.exec(said);
  assert.ok(found !== null, said);
  if (ahead !== undefined && found[1] !== undefined)
    assert.is(Number(found[1]) - Number(found[2]), ahead, said);
}

/** The side that does; the other has ended. */
async function goesOnAlone(pair: Pair): Promise<Side> {
  const alone = async (): Promise<Side[]> => {
    const all = await Promise.all(SIDES.map((side) => pair.status(side)));
    return SIDES.filter((_side, at) => all[at]?.state === 'needs-backup');
  };
  await pair.until('one goes on', async () => (await alone()).length > 0, NOTICED_MS);
  const [survivor, second] = await alone();
  assert.is(second, undefined, 'both go on');
  assert.ok(survivor !== undefined);
  const loser = survivor === 'primary' ? 'backup' : 'primary';
  await pair.until(
    `the ${loser} ends`,
    async () => (await pair.status(loser)) === null,
    NOTICED_MS,
  );
  return survivor;
}
