// SPDX-License-Identifier: Apache-2.0
/** The checkpoints of a recording, as their manifests say: `checkpoints/<icount>/manifest.json`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { formatBytes } from '../base/format.ts';

const manifestSchema = z.object({
  icount: z.coerce.number().nonnegative(),
  vtime_ns: z.coerce.number(),
  kind: z.string(),
  bytes: z.number().optional(),
  digest: z.string().optional(),
});

export interface CheckpointMark {
  readonly icount: number;
  readonly vtimeNs: number;
  readonly text: string;
}

/** Those that can be read, in order, and how many cannot. */
export function readCheckpoints(dir: string): { marks: CheckpointMark[]; unreadable: number } {
  const folder = join(dir, 'checkpoints');
  if (!existsSync(folder)) return { marks: [], unreadable: 0 };
  const marks: CheckpointMark[] = [];
  let unreadable = 0;
  for (const name of readdirSync(folder)) {
    // What is being written has another name.
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(join(folder, name, 'manifest.json'), 'utf8');
      const { icount, vtime_ns, kind, bytes, digest } = manifestSchema.parse(JSON.parse(text));
      const size = bytes === undefined ? '' : `, ${formatBytes(bytes)}`;
      marks.push({
        icount,
        vtimeNs: vtime_ns,
        text: `${kind}${size}${digest === undefined ? '' : `, ${digest}`}`,
      });
    } catch {
      unreadable += 1;
    }
  }
  return { marks: marks.sort((a, b) => a.icount - b.icount), unreadable };
}
