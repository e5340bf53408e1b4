// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

export function raftPatches(): string[];
export function raftLibrary(progress: Progress): Promise<string>;
