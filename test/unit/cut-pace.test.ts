// SPDX-License-Identifier: Apache-2.0
/** How long epochs are: a function of what the last ones cost, so tested as one. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HostShipping, type ShippingCourier } from '../../src/daemon/vm-courier.ts';
import { type CutInterval, CutPace } from '../../src/epochs/cut-pace.ts';
import type { CutNumbers } from '../../src/epochs/protocol.ts';
import { protocolByName } from '../../src/epochs/registry.ts';
import type { ShippingOptions } from '../../src/replica/ports.ts';
import type { PeerSession } from '../../src/wire/session.ts';
import { SETTINGS } from '../simulation/protocols.ts';

const pace = suite('the pace of cuts');

const { cut } = protocolByName('remus', SETTINGS);
if (cut === null) throw new Error('remus cuts');
const CUT: CutNumbers = cut;
const ASKED_MS = SETTINGS.intervalMs;
const MOST_MS = 10 * ASKED_MS;

/** What an epoch of so many ms costs. */
type Cost = (everyMs: number) => { readonly pauseMs: number; readonly transferMs: number };

/** Cheap: no length is wanted but the one that was asked for. */
const IDLE: Cost = () => ({ pauseMs: 0.3, transferMs: 0.5 });

/** A guest that writes to its pages again and again, on a link of so many pages per ms. */
const rewriting =
  (pages: number, perMs: number): Cost =>
  (everyMs) => ({
    pauseMs: 0.3,
    transferMs: (pages * (1 - Math.exp(-everyMs / 100))) / perMs,
  });

/** A VM that is cut as its pace says, or sooner. */
class Played {
  readonly pace: CutPace;
  #at = { atMs: 0, cuts: 0, pauseMs: 0, transfers: 0, transferMs: 0 };

  constructor(cut: CutNumbers = CUT) {
    this.pace = new CutPace(cut);
    this.epoch(0, { pauseMs: 20, transferMs: 900 }); // all of memory
  }

  get everyMs(): number {
    return this.pace.interval.everyMs;
  }

  /** Each is cut, and committed, and looked after: as acks come. */
  epoch(ms: number, { pauseMs, transferMs }: ReturnType<Cost>): CutInterval {
    const at = this.#at;
    this.pace.look(at);
    this.#at = {
      atMs: at.atMs + ms,
      cuts: at.cuts + 1,
      pauseMs: at.pauseMs + pauseMs,
      transfers: at.transfers + 1,
      transferMs: at.transferMs + transferMs,
    };
    return this.pace.look(this.#at);
  }

  /** @returns every length that there was */
  play(forMs: number, cost: Cost, sooner = Number.POSITIVE_INFINITY): number[] {
    const lengths = [];
    for (const endMs = this.#at.atMs + forMs; this.#at.atMs < endMs; ) {
      const ms = Math.min(this.everyMs, sooner);
      lengths.push(this.epoch(ms, cost(ms)).everyMs);
    }
    return lengths;
  }
}

pace('without load it is what was asked for, whatever the first epoch was', () => {
  const vm = new Played();
  assert.equal(new Set(vm.play(2000, IDLE)), new Set([ASKED_MS]));
  assert.equal(vm.pace.interval, { everyMs: ASKED_MS, why: 'asked', transferMs: 0.5 });
});

pace('the guest stands still for a twentieth of its time at most', () => {
  const vm = new Played();
  vm.play(1000, () => ({ pauseMs: 4, transferMs: 1 }));
  assert.equal(vm.pace.interval, { everyMs: 80, why: 'pause', transferMs: 1 });
  vm.play(2000, IDLE);
  assert.equal(vm.pace.interval, { everyMs: ASKED_MS, why: 'asked', transferMs: 0.5 });
});

pace('on a slow link it finds the length whose transfer leaves the link a fifth', () => {
  const vm = new Played();
  const cost = rewriting(2000, 15); // 29 ms for those of 25 ms
  vm.play(5000, cost);
  const { everyMs, why } = vm.pace.interval;
  assert.is(why, 'transfer');
  assert.ok(everyMs > 2 * ASKED_MS && everyMs < MOST_MS, `${everyMs} ms`);
  const share = cost(everyMs).transferMs / everyMs;
  assert.ok(Math.abs(share - 0.8) < 0.02, `${share} of it`);
  const swings = vm.play(1000, cost).map((ms) => Math.abs(ms - everyMs));
  assert.ok(Math.max(...swings) < 2, `it stays there: ${Math.max(...swings)} ms off`);
});

pace('when the load is gone it comes back, by steps, within two seconds', () => {
  const vm = new Played();
  vm.play(5000, rewriting(1e6, 1));
  assert.is(vm.everyMs, MOST_MS);
  const first = vm.play(500, IDLE);
  assert.ok(vm.everyMs < MOST_MS && vm.pace.interval.why === 'transfer', 'on its way back');
  const lengths = [...first, ...vm.play(1500, IDLE)];
  assert.is(vm.everyMs, ASKED_MS);
  lengths.reduce((before, now) => {
    assert.ok(now <= before && now >= Math.min(before, 0.74 * before), `${before} to ${now}`);
    return now;
  }, MOST_MS);
});

pace('a link that is too slow for any length has the longest, and no more', () => {
  const vm = new Played();
  const lengths = vm.play(20_000, () => ({ pauseMs: 0.3, transferMs: 5000 }));
  assert.is(Math.max(...lengths), MOST_MS);
  assert.equal(vm.pace.interval, { everyMs: MOST_MS, why: 'transfer', transferMs: 5000 });
  const bounded = new Played({
    ...CUT,
    stretch: CUT.stretch && { ...CUT.stretch, everyMsMax: 60 },
  });
  bounded.play(2000, () => ({ pauseMs: 0.3, transferMs: 5000 }));
  assert.is(bounded.everyMs, 60);
});

pace('epochs that end sooner, for packets, make none longer', () => {
  const vm = new Played();
  const lengths = vm.play(1000, () => ({ pauseMs: 0.5, transferMs: 1 }), 2);
  assert.equal(new Set(lengths), new Set([ASKED_MS]), 'though a quarter of the time is pause');
});

pace('it is not looked more often than every 100 ms, nor without an epoch that has come', () => {
  const one = new CutPace(CUT);
  const at = { cuts: 0, pauseMs: 0, transfers: 0, transferMs: 0 };
  const changes = (atMs: number, more: Partial<typeof at>): number =>
    one.look({ ...at, atMs, ...more }).everyMs;
  changes(0, {});
  changes(10, { cuts: 1, transfers: 1 });
  assert.is(one.isDue(90), false);
  const two = { cuts: 3, transfers: 2, transferMs: 40 };
  assert.is(changes(90, two), ASKED_MS, 'too early');
  assert.is(one.isDue(110), true);
  assert.is(changes(110, two), 50);
  assert.is(changes(300, { ...two, cuts: 5 }), 50, 'none has come');
  assert.is(changes(301, { cuts: 5, transfers: 3, transferMs: 44 }), 37.5);
});

pace('where nothing is stretched, all is as it was asked for, and still told', () => {
  const vm = new Played({ ...CUT, stretch: null });
  vm.play(2000, () => ({ pauseMs: 50, transferMs: 70 }));
  assert.equal(vm.pace.interval, { everyMs: ASKED_MS, why: 'asked', transferMs: 70 });
});

pace('the bound is ten times the wish, or what VM.toml says', () => {
  const mostOf = (more: object) =>
    protocolByName('remus', { ...SETTINGS, ...more }).cut?.stretch?.everyMsMax;
  assert.is(mostOf({ intervalMs: 40 }), 400);
  assert.is(mostOf({ intervalMs: 4000 }), 10_000);
  assert.is(mostOf({ intervalMsMax: 77 }), 77);
  assert.is(protocolByName('kemari', SETTINGS).cut?.stretch, null);
});

pace.run();

const applied = suite('the pace of cuts, applied');

applied('only while epochs are cut; another backup begins with the wish', () => {
  const told: (number | null)[] = [];
  const courier = { detach() {} } as unknown as ShippingCourier;
  const options = { cut: CUT } as ShippingOptions;
  const session = {} as PeerSession;
  const attach = (): void => {};
  const shipping = new HostShipping(courier, options, attach, (cut) =>
    told.push(cut?.everyMs ?? null),
  );
  shipping.cutEvery(40);
  shipping.attach(session);
  shipping.cutEvery(40);
  shipping.detach(2);
  shipping.cutEvery(50);
  shipping.attach(session);
  assert.equal(told, [ASKED_MS, 40, null, ASKED_MS]);
});

applied.run();
