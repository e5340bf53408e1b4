// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's client, a process of its own: `node client.js HOST PORT SEED RATE WINDOW`.
 *
 * It opens ONE connection and never another. It keeps up to WINDOW requests in
 * flight, at most RATE a second, and checks each answer byte for byte. It prints
 * events (client-events.ts) on stdout. The line "stop" on stdin, or its end, makes
 * it send no more, wait for what it is owed, print its result and exit.
 */
import { createConnection } from 'node:net';
import { errorCodeOf, messageOf } from '../base/errors.ts';
import { type ClientCounts, type ClientEvent, GAP_MS_MIN } from './client-events.ts';
import { FrameReader, requestFrame } from './frames.ts';

const PROGRESS_MS = 500;
const DRAIN_TIMEOUT_MS = 8000;

const [host = '', port = '', seedText = '', rateText = '', windowText = ''] = process.argv.slice(2);
const seed = Number(seedText);
const spacingMs = 1000 / Number(rateText);
const window = Number(windowText);

const sentAt = new Map<number, number>();
const latenciesMs: number[] = [];
const reader = new FrameReader();
let sent = 0;
let answered = 0;
let corrupted = 0;
let duplicated = 0;
let broken = 0;
let gapMsMax = 0;
/** When the client began to be owed an answer, or got the last one. */
let quietSince = 0;
let nextSendMs = 0;
let stopping = false;
let finished = false;

const now = (): number => performance.timeOrigin + performance.now();
const print = (event: ClientEvent): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`);
};
const counts = (): ClientCounts => ({ sent, answered, corrupted, duplicated });

const socket = createConnection({ host, port: Number(port), noDelay: true });
socket.on('connect', () => {
  print({ event: 'connected', at_ms: now(), local: `${socket.localAddress}:${socket.localPort}` });
  nextSendMs = now();
  setInterval(sendDue, 1);
  setInterval(() => print({ event: 'progress', at_ms: now(), ...counts() }), PROGRESS_MS);
});
socket.on('data', (chunk: Buffer) => {
  for (const frame of reader.push(chunk)) answer(frame.number, frame.bytes);
  if (reader.garbage) {
    corrupted += 1;
    connectionBroke('an answer that is none');
  }
  sendDue();
});
socket.on('error', (error) => connectionBroke(errorCodeOf(error) ?? messageOf(error)));
socket.on('close', () => connectionBroke('closed by the other side'));

let commands = '';
process.stdin.setEncoding('utf8').on('data', (text: string) => {
  commands += text;
  if (commands.includes('stop\n')) stop();
});
process.stdin.on('end', stop).on('error', stop);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);

function sendDue(): void {
  const atMs = now();
  if (atMs - nextSendMs > spacingMs * window) nextSendMs = atMs; // no burst after a stall
  while (!stopping && sentAt.size < window && nextSendMs <= atMs) {
    if (sentAt.size === 0) quietSince = atMs;
    sentAt.set(sent, atMs);
    socket.write(requestFrame(seed, sent));
    sent += 1;
    nextSendMs += spacingMs;
  }
}

function answer(number: number, bytes: Buffer): void {
  const atMs = now();
  noteGap(atMs);
  const since = sentAt.get(number);
  if (since === undefined) {
    if (number < sent) duplicated += 1;
    else corrupted += 1;
    return;
  }
  sentAt.delete(number);
  if (!requestFrame(seed, number).equals(bytes)) {
    corrupted += 1;
    return;
  }
  answered += 1;
  latenciesMs.push(atMs - since);
  if (stopping && sentAt.size === 0) finish();
}

function noteGap(atMs: number): void {
  const ms = atMs - quietSince;
  if (ms > gapMsMax) gapMsMax = ms;
  if (ms >= GAP_MS_MIN) print({ event: 'gap', from_ms: quietSince, ms });
  quietSince = atMs;
}

function connectionBroke(reason: string): void {
  if (finished) return;
  broken += 1;
  print({ event: 'broken', at_ms: now(), reason });
  finish();
}

function stop(): void {
  if (stopping) return;
  stopping = true;
  if (sentAt.size === 0) finish();
  else setTimeout(finish, DRAIN_TIMEOUT_MS);
}

function finish(): void {
  if (finished) return;
  finished = true;
  // What is still owed is a gap too, and the longest one when the service is dead.
  if (sentAt.size > 0) noteGap(now());
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number): number => {
    const index = Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * share));
    return Math.round((latenciesMs[index] ?? 0) * 100) / 100;
  };
  print({
    event: 'result',
    ...counts(),
    unanswered: sentAt.size,
    acknowledged: Math.min(sent, ...sentAt.keys()),
    broken,
    gap_ms_max: gapMsMax,
    latency_ms: { p50: at(0.5), p99: at(0.99), max: at(1) },
  });
  socket.destroy();
  process.exitCode = 0;
  // stdout may be a pipe: let it drain before the end.
  process.stdout.write('', () => process.exit());
}
