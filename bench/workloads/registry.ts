// SPDX-License-Identifier: Apache-2.0
/** All workloads by name, in the order of a report. */
import { boot } from './boot.ts';
import { compile } from './compile.ts';
import { cpu } from './cpu.ts';
import { idle } from './idle.ts';
import { iozone } from './iozone.ts';
import { netperfWorkload } from './netperf.ts';
import { redis } from './redis.ts';
import { sql } from './sql.ts';
import type { Workload } from './workload.ts';

export const WORKLOADS: readonly Workload[] = [
  netperfWorkload,
  iozone,
  cpu,
  compile,
  redis,
  sql,
  idle,
  boot,
];
