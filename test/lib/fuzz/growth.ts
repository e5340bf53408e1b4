// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a target still learns: how many features (of libFuzzer: edges and how often; of loop.ts:
 * behaviours) it began with, what became of them, and when the last new one came.
 */

export interface Growth {
  /** What was learned before, and the seeds. */
  readonly from: number;
  readonly to: number;
  /** CPU time since the last new one; all of it when there was none. */
  readonly quietCpuSeconds: number;
}

/** Reads the lines of a fuzzer, as they come: `INITED … ft: N …`, then `NEW … ft: N …`. */
export class GrowthReader {
  #partial = '';
  #from: number | null = null;
  #to = 0;
  #lastNewAt = 0;

  /** @param cpuSeconds asked only where something is new */
  read(text: string, cpuSeconds: () => number): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = (lines.pop() ?? '').slice(-1024);
    for (const line of lines) {
      const features = Number(/\bft: (\d+)/.exec(line)?.[1] ?? 0);
      if (/\bINITED\b/.test(line)) this.#from = features;
      else if (features > this.#to && this.#from !== null) this.#lastNewAt = cpuSeconds();
      this.#to = Math.max(this.#to, features);
    }
  }

  end(cpuSeconds: number): Growth {
    const from = this.#from ?? this.#to;
    return { from, to: this.#to, quietCpuSeconds: Math.max(0, cpuSeconds - this.#lastNewAt) };
  }
}
