// SPDX-License-Identifier: Apache-2.0
/** A worker that ends, by itself or by force, while the addon is at work in it. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

export const ADDON = fileURLToPath(
  new URL('../../native/kvm-exit-log/build/Release/kvm_exit_log.node', import.meta.url),
);

type Way = 'terminate' | 'exit' | 'throw';

/**
 * One worker after the other, each until it has ended. That it takes this process with it is
 * the failure that is looked for.
 * @param source calls `up()` where the addon works; `addon` is the addon
 */
export async function endWorkers(ways: readonly Way[], source: string): Promise<void> {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData.addon);
    const up = () => {
      parentPort.postMessage('up');
      if (workerData.way === 'exit') setImmediate(() => process.exit(0));
      if (workerData.way === 'throw') setImmediate(() => { throw new Error('on purpose'); });
    };
    ${source}`;
  for (const way of ways) {
    const worker = new Worker(script, { eval: true, workerData: { way, addon: ADDON } });
    const errors: Error[] = [];
    worker.on('error', (error) => errors.push(error));
    const ended = new Promise((resolve) => worker.once('exit', () => resolve('ended')));
    const isUp = new Promise((resolve) => worker.once('message', resolve));
    const first = await Promise.race([isUp, ended]);
    if (first !== 'up') throw errors[0] ?? new Error(`the worker ${first} before it was up`);
    if (way === 'terminate') await worker.terminate();
    await ended;
  }
}
