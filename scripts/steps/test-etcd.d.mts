// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Path of etcd's program. */
export function testEtcd(progress: Progress): Promise<string>;
