// SPDX-License-Identifier: Apache-2.0
/** Small samples: what the intervals promise is checked on data of which all is known. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  digamma,
  studentCdf,
  studentQuantile,
  trigamma,
  trigammaInverse,
} from '../../bench/distributions.ts';
import {
  median,
  middle,
  moderated,
  priorOf,
  quantile,
  ratioOf,
  spread,
} from '../../bench/stats.ts';
import { normal, seeded } from '../lib/bench-model.ts';

const near = (found: number, wanted: number, tolerance: number): void => {
  assert.ok(Math.abs(found - wanted) <= tolerance, `${found} is not about ${wanted}`);
};

test("Student's t is that of the tables", () => {
  near(studentQuantile(0.975, 1), 12.706, 1e-3);
  near(studentQuantile(0.975, 2), 4.303, 1e-3);
  near(studentQuantile(0.975, 4), 2.776, 1e-3);
  near(studentQuantile(0.995, 10), 3.169, 1e-3);
  near(studentQuantile(0.975, 1e9), 1.96, 1e-3);
  near(studentQuantile(0.025, 4), -2.776, 1e-3);
  near(studentCdf(2.228, 10), 0.975, 1e-4);
  assert.is(studentCdf(0, 3), 0.5);
  near(studentCdf(-4, 3.5) + studentCdf(4, 3.5), 1, 1e-12);
});

test('polygamma functions', () => {
  near(digamma(1), -0.5772156649, 1e-9);
  near(trigamma(1), Math.PI ** 2 / 6, 1e-9);
  near(trigamma(0.5), Math.PI ** 2 / 2, 1e-9);
  for (const x of [0.3, 1, 7, 120]) near(trigammaInverse(trigamma(x)), x, 1e-6 * x);
});

test('median, middle, quantile, spread', () => {
  assert.is(median([3, 1, 2]), 2);
  assert.is(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.is(middle([3, 1, 2]), 2);
  assert.is(middle([9, 1, 2, 6]), 4);
  assert.is(middle([1, 3]), 2);
  assert.is(middle([90, 1, 2, 3, 4]), 3);
  assert.is(quantile([5, 1, 4, 2, 3], 0.9), 5);
  assert.is(quantile([5, 1, 4, 2, 3], 0.5), 3);
  assert.is(spread([7]), null);
  near(spread([100, 110, 90]) ?? 0, 0.1, 0.005);
});

test('one round says nothing of its spread, and is flagged', () => {
  const ratio = ratioOf([0.8], { variance: 0.01, freedom: 4 });
  near(ratio.ratio, 0.8, 1e-12);
  assert.equal([ratio.low, ratio.high, ratio.spread], [null, null, null]);
  assert.ok(ratio.noisy);
});

test('what is wider than a fifth of its ratio is flagged, what is not is not', () => {
  const calm = ratioOf([0.98, 1, 1.01, 0.99, 1.02], null);
  assert.not(calm.noisy);
  assert.ok((calm.high ?? 0) - (calm.low ?? 0) < 0.2);
  assert.ok(ratioOf([0.8, 1, 1.2, 0.9, 1.1], null).noisy);
  // Three that lie close together by luck, among figures that do not.
  const prior = priorOf(Array.from({ length: 20 }, () => [0, 0.2, -0.2]));
  assert.not(ratioOf([1, 1.001, 0.999], null).noisy);
  assert.ok(ratioOf([1, 1.001, 0.999], prior).noisy);
});

test('few figures make no prior; a loud figure stays loud among quiet ones', () => {
  assert.is(priorOf([[0, 0.1], [0.1, 0.2], [0, 1], [1]]), null);
  const quiet = Array.from({ length: 30 }, (_, at) => [0, 0.01 + at / 1e4, -0.01]);
  const prior = priorOf(quiet);
  assert.ok(prior !== null && prior.variance < 0.001);
  const loud = moderated([[0, 0.5, -0.5]], prior);
  near(loud?.variance ?? 0, 0.25, 1e-9);
  assert.ok((loud?.freedom ?? 0) > 2);
});

/** Half of a normal distribution's interval that holds 99 times in 100, if the spread is known. */
const IDEAL = 2.576;
/** Spreads of forty figures, as a host may have them. */
const HOSTS: Readonly<Record<string, (at: number, random: () => number) => number>> = {
  'all alike': () => 0.07,
  'from 5 to 15 %': (at) => 0.05 + 0.1 * (at / 40),
  'quiet ones and loud ones': (at) => (at % 4 === 0 ? 0.15 : 0.02),
  'many kinds': (_at, random) => 0.05 * Math.exp(0.8 * normal(random)),
};

for (const [name, spreadOf] of Object.entries(HOSTS)) {
  for (const rounds of [3, 5]) {
    test(`what another run gives is in the interval, 99 of 100: ${name}, ${rounds} rounds`, () => {
      const random = seeded(rounds * 1000 + name.length);
      let inside = 0;
      let truth = 0;
      let calm = 0;
      let halves = 0;
      let ideal = 0;
      let calmInside = 0;
      const repetitions = 40;
      for (let repetition = 0; repetition < repetitions; repetition += 1) {
        const sigmas = Array.from({ length: 40 }, (_, at) => spreadOf(at, random));
        const sample = (sigma: number): number[] =>
          Array.from({ length: rounds }, () => sigma * normal(random));
        const first = sigmas.map(sample);
        const prior = priorOf(first);
        for (const [at, sigma] of sigmas.entries()) {
          const { low, high, noisy } = ratioOf((first[at] ?? []).map(Math.exp), prior);
          assert.ok(low !== null && high !== null);
          const again = Math.exp(middle(sample(sigma)));
          const isInside = low <= again && again <= high;
          if (isInside) inside += 1;
          halves += Math.log(high / low) / 2;
          ideal += IDEAL * sigma * (rounds === 3 ? Math.sqrt(2 * 0.4487) : Math.sqrt(2 * 0.2271));
          if (low <= 1 && 1 <= high) truth += 1;
          if (noisy) continue;
          calm += 1;
          if (isInside) calmInside += 1;
        }
      }
      const all = repetitions * 40;
      assert.ok(inside / all > 0.98, `${inside} of ${all} repetitions`);
      assert.ok(halves / ideal < 2.2, `no wider than it must be: ${halves / ideal}`);
      assert.ok(truth / all > 0.99, `${truth} of ${all} have the true ratio`);
      // The promise of the report: what is not flagged comes out again.
      if (calm > 100) assert.ok(calmInside / calm > 0.97, `${calmInside} of ${calm} not flagged`);
    });
  }
}

test('one round that went wrong hardly moves the ratio, and is not hidden', () => {
  const ratio = ratioOf([1, 1.02, 0.99, 1.01, 2.4], null);
  near(ratio.ratio, 1.01, 1e-4);
  assert.ok(ratio.noisy);
});

test.run();
