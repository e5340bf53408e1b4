// SPDX-License-Identifier: Apache-2.0
/**
 * Ratios and how far they can be trusted, from three to six rounds.
 *
 * A ratio is made within a round, of two runs that were neighbours in time, so that
 * what slows the whole host cancels. The middle of the rounds is shown (their mean without
 * the lowest and the highest), and an interval in which the middle of another run of as
 * many rounds is expected, 99 times in 100: a prediction interval, since what a reader asks
 * is whether it would come out so again. A report has a hundred ratios: of intervals that
 * hold 95 times in 100, five would be missed by luck each time it is made again.
 *
 * Three values tell next to nothing about their own spread: by luck they lie close
 * together, and an interval made of them alone is far too narrow as often as it is far
 * too wide. A resampling bootstrap is worse, since it never goes beyond the three. So
 * the spread of one figure is moderated by that of all figures of the same results, as
 * Smyth does for thousands of genes in three samples each (2004, "Linear models and
 * empirical Bayes methods"): a prior spread worth so many degrees of freedom as the
 * figures' spreads resemble each other. test/unit/bench-stats.test.ts has its coverage.
 */
import { digamma, studentQuantile, trigamma, trigammaInverse } from './distributions.ts';

/** An interval wider than this share of its ratio is flagged. */
export const NOISY_WIDTH = 0.2;
/** In so many of a hundred repetitions a ratio comes out in its interval. */
export const REPEATS_OF_100 = 99;
/** Least spread of logarithms: below this the clock and rounding decide. */
const SPREAD_MIN = 0.002;
/** A prior is never worth more: figures are not all alike, whatever a fit says. */
const PRIOR_FREEDOM_MAX = 6;
/** Fewer spreads than these say nothing about the others. */
const PRIOR_FIGURES_MIN = 5;
/** Variance of the middle of n from a normal distribution of variance 1, n from 1 (simulated). */
const MIDDLE_VARIANCE = [1, 0.5, 0.4487, 0.2982, 0.2271, 0.1841, 0.155, 0.134, 0.1178];
/** Beyond: over the mean's. */
const MIDDLE_OVER_MEAN = 1.06;

export interface Ratio {
  readonly ratio: number;
  /** Null with one round only: nothing is known of its spread. */
  readonly low: number | null;
  readonly high: number | null;
  readonly rounds: number;
  /** Standard deviation between rounds as a share, moderated; null with one round. */
  readonly spread: number | null;
  /** The interval is wider than NOISY_WIDTH of the ratio, or there is none. */
  readonly noisy: boolean;
}

/** What the figures of one run of the harness say about the spread of any of them. */
export interface Prior {
  readonly variance: number;
  readonly freedom: number;
}

export interface Moderated {
  readonly variance: number;
  readonly freedom: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The mean without the lowest and the highest: one run that went wrong does not move it. */
export function middle(values: readonly number[]): number {
  if (values.length < 3) return mean(values);
  return mean([...values].sort((a, b) => a - b).slice(1, -1));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Variance of a sample: divided by n − 1. NaN for fewer than two values. */
export function variance(values: readonly number[]): number {
  const about = mean(values);
  return values.reduce((sum, value) => sum + (value - about) ** 2, 0) / (values.length - 1);
}

/** Standard deviation between values as a share of them; null for fewer than two. */
export function spread(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  return Math.sqrt(variance(values.map(Math.log)));
}

/** `p` from 0 to 1, of a sample; NaN of none. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * @param samples logarithms of one figure's ratios, each with its own count of rounds
 * @returns null if there are too few to say anything
 */
export function priorOf(samples: readonly (readonly number[])[]): Prior | null {
  const spreads = samples
    .filter(({ length }) => length >= 2)
    .map((logs) => ({ freedom: logs.length - 1, variance: floored(variance(logs)) }));
  if (spreads.length < PRIOR_FIGURES_MIN) return null;
  // Smyth, section 6.2: log s² has this mean and variance when s² is scaled F.
  const logs = spreads.map(
    ({ freedom, variance: s2 }) => Math.log(s2) - digamma(freedom / 2) + Math.log(freedom / 2),
  );
  const between = variance(logs) - mean(spreads.map(({ freedom }) => trigamma(freedom / 2)));
  const fitted = between > 0 ? 2 * trigammaInverse(between) : Number.POSITIVE_INFINITY;
  const freedom = Math.min(fitted, PRIOR_FREEDOM_MAX);
  return {
    freedom,
    variance: Math.exp(mean(logs) + digamma(freedom / 2) - Math.log(freedom / 2)),
  };
}

/** The spread of samples of one figure (one, or one of each results), with the prior's. */
export function moderated(
  samples: readonly (readonly number[])[],
  prior: Prior | null,
): Moderated | null {
  const own = samples.filter(({ length }) => length >= 2);
  const ownFreedom = own.reduce((sum, { length }) => sum + length - 1, 0);
  if (ownFreedom === 0) return null;
  const squares = own.reduce((sum, logs) => sum + variance(logs) * (logs.length - 1), 0);
  const s2 = floored(squares / ownFreedom);
  if (prior === null) return { variance: s2, freedom: ownFreedom };
  const freedom = ownFreedom + prior.freedom;
  const shrunk = (ownFreedom * s2 + prior.freedom * prior.variance) / freedom;
  // Never below its own: among quiet figures a loud one stays loud.
  return { variance: Math.max(s2, shrunk), freedom };
}

/** @param ratios one a round, each > 0, at least one */
export function ratioOf(ratios: readonly number[], prior: Prior | null): Ratio {
  const logs = ratios.map(Math.log);
  const ratio = Math.exp(middle(logs));
  const known = moderated([logs], prior);
  const rounds = ratios.length;
  if (known === null) return { ratio, low: null, high: null, rounds, spread: null, noisy: true };
  const sigma = Math.sqrt(known.variance);
  const t = tOf(known.freedom, REPEATS_OF_100 / 100);
  // Twice the middle's variance: its own, and that of the run it is to be compared with.
  const half = t * sigma * Math.sqrt(2 * middleVariance(rounds));
  const low = ratio * Math.exp(-half);
  const high = ratio * Math.exp(half);
  return { ratio, low, high, rounds, spread: sigma, noisy: high - low > NOISY_WIDTH * ratio };
}

const quantiles = new Map<string, number>();

/** Student's t of an interval at this level; rounded, so that thousands of cells share a few. */
export function tOf(freedom: number, level: number): number {
  const rounded = Math.round(freedom * 10) / 10;
  const key = `${level} ${rounded}`;
  const known = quantiles.get(key) ?? studentQuantile(1 - (1 - level) / 2, rounded);
  quantiles.set(key, known);
  return known;
}

function middleVariance(n: number): number {
  return MIDDLE_VARIANCE[n - 1] ?? MIDDLE_OVER_MEAN / n;
}

function floored(s2: number): number {
  return Math.max(s2, SPREAD_MIN ** 2);
}
