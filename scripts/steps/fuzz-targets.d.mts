// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

export function nativeTargets(): string[];
export function seedsOf(target: string): string;
export function fuzzTargets(progress: Progress): Promise<string>;
