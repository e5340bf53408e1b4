// SPDX-License-Identifier: Apache-2.0
import { icountOf } from '../../src/base/position.ts';
import { LogReader } from '../../src/log/log-reader.ts';

const plain = (value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
};
const plainObject = (object: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, plain(value)]));

/** All that a log says, as JSON, by the names of log.capnp: bigints as decimal text, bytes as hex. */
export async function describeLog(dir: string): Promise<unknown> {
  const batches: unknown[] = [];
  const reader = new LogReader(dir);
  for await (const { batch, file, offset } of reader) {
    const records = [...batch.records()].map(({ point, ...rest }) =>
      plainObject({ icount: icountOf(point), ...rest }),
    );
    const { horizon, ...rest } = batch.header;
    const header = plainObject({
      horizonIcount: icountOf(horizon.point),
      horizonVtimeNs: horizon.vtimeNs,
      ...rest,
    });
    batches.push({ file: file.slice(-10), offset, ...header, records });
  }
  const { createdAtNs: _, ...segment } = plainObject(reader.segment ?? {});
  return { segment, batches };
}
