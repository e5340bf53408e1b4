// SPDX-License-Identifier: Apache-2.0
import { LogReader } from '../../src/log/log-reader.ts';

const plain = (value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
};
const plainObject = (object: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, plain(value)]));

/** All that a log says, as JSON: bigints as decimal text, bytes as hex. */
export async function describeLog(dir: string): Promise<unknown> {
  const batches: unknown[] = [];
  const reader = new LogReader(dir);
  for await (const { batch, file, offset } of reader) {
    const records = [...batch.records()].map(plainObject);
    batches.push({ file: file.slice(-10), offset, ...plainObject(batch.header), records });
  }
  const { createdAtNs: _, ...segment } = plainObject(reader.segment ?? {});
  return { segment, batches };
}
