// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Chromium's path, installed if need be; undefined when it is missing and only root could. */
export function testChromium(progress: Progress): Promise<string | undefined>;
