// SPDX-License-Identifier: Apache-2.0
/** What the VM does, and what is measured of it: by the host's clock, from outside. */
import { spawn } from 'node:child_process';
import type { WorkloadFacts } from '../results.ts';
import type { Guest, RunningVm, VmSpec } from '../systems/system.ts';

export type Scale = 'quick' | 'full';

/** From when to when, on `performance.now()`'s scale. */
export interface Part {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Measured {
  readonly values: Readonly<Record<string, number>>;
  readonly facts?: Readonly<Record<string, number>>;
  /** When each of its figures was measured, by the figure's name: what a pair did meanwhile. */
  readonly parts?: Readonly<Record<string, Part>>;
}

export interface Workload extends WorkloadFacts {
  /** Somebody talks to it from outside: a replay of it has none of its figures. */
  readonly served: boolean;
  /** Seconds from start to power-off on plain TCG, for the plan; measured on two cores. */
  readonly seconds: Readonly<Record<Scale, number>>;
  /** Makes what it needs, once. @throws Error when this host cannot */
  prepare(scale: Scale): Promise<VmSpec>;
  /** Measures until the guest has begun to power off by itself. */
  measure(vm: RunningVm, scale: Scale): Promise<Measured>;
}

const READY = 'bench: ready';
/** Where a guest that serves is told that it is over (init.bench). */
const OVER_PORT = 9;
const OVER_TIMEOUT_MS = 20_000;

export function ready(vm: RunningVm): Promise<number> {
  return vm.said(READY);
}

/** @returns when the guest did a part of its work. @throws Error when it failed there */
export async function partOf(vm: RunningVm, name: string): Promise<Part> {
  const fromMs = await vm.said(`bench: begin ${name}`);
  const toMs = await vm.said(`bench: end ${name} `);
  const status = new RegExp(`bench: end ${name} (\\d+)`);
  // The number may come a moment after the words before it.
  await vm.said(`bench: end ${name} 0`).catch(() => {
    const found = status.exec(vm.console())?.[1] ?? '?';
    throw new Error(`${name} failed in the guest with ${found}: ${vm.console().slice(-300)}`);
  });
  return { fromMs, toMs };
}

export function secondsOf({ fromMs, toMs }: Part): number {
  return (toMs - fromMs) / 1000;
}

/** The guest that serves may power off now. */
export async function dismiss(vm: RunningVm): Promise<void> {
  const program = `require('net').connect(${OVER_PORT}, '${vm.guestAddress}', () => process.exit(0)).on('error', (e) => { console.error(e.message); process.exit(1); })`;
  await beside(vm, [process.execPath, '-e', program], OVER_TIMEOUT_MS);
}

/**
 * Runs a program on the guest's network.
 * @returns what it said on stdout. @throws Error with what it said otherwise
 */
export function beside(vm: Guest, words: readonly string[], timeoutMs: number): Promise<string> {
  const [file = '', ...args] = [...vm.prefix, ...words];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const name = words[0]?.split('/').at(-1) ?? '';
  return new Promise((resolve, reject) => {
    const close = (run: () => void): void => {
      clearTimeout(timer);
      run();
    };
    child.on('error', (error) => close(() => reject(error)));
    // A VM that ended took the network with it: nothing would ever come back.
    vm.ended.catch(() => child.kill('SIGKILL'));
    child.on('close', (code) =>
      close(() => {
        if (code === 0) return resolve(out);
        const why = late ? `not done within ${timeoutMs / 1000} s` : `ended with ${code}`;
        reject(new Error(`${name} ${why}: ${(err || out).trim().slice(-300)}`));
      }),
    );
  });
}
