// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/**
 * Builds the reference guest and the firmware unless the cache has them.
 * `refresh`: choose Debian's package versions again and rebuild.
 */
export function guestStep(progress: Progress, options?: { refresh?: boolean }): Promise<void>;
