// SPDX-License-Identifier: Apache-2.0
/** What the demo's client prints: one of these per line. Times are host ms (CLOCK_REALTIME). */

/** A time without an answer is a gap from here on; shorter ones are a busy host's ordinary jitter. */
export const GAP_MS_MIN = 20;

export interface ClientCounts {
  readonly sent: number;
  /** Answers that were right, byte for byte. */
  readonly answered: number;
  /** Answers with other bytes than the request, or that nobody asked for. */
  readonly corrupted: number;
  /** Second answers to one request. */
  readonly duplicated: number;
}

export type ClientEvent =
  | { readonly event: 'connected'; readonly at_ms: number; readonly local: string }
  | ({ readonly event: 'progress'; readonly at_ms: number } & ClientCounts)
  /** No answer from `from_ms` for `ms`, while at least one was owed. */
  | { readonly event: 'gap'; readonly from_ms: number; readonly ms: number }
  | { readonly event: 'broken'; readonly at_ms: number; readonly reason: string }
  | ({ readonly event: 'result' } & ClientResult);

export interface ClientResult extends ClientCounts {
  /** Sent and never answered. */
  readonly unanswered: number;
  /** The first number without an answer: all before it were acknowledged. */
  readonly acknowledged: number;
  /** Connections that broke: the client never makes a second one. */
  readonly broken: number;
  readonly gap_ms_max: number;
  readonly latency_ms: { readonly p50: number; readonly p99: number; readonly max: number };
}
