// SPDX-License-Identifier: Apache-2.0
/**
 * What `record` and `unpack` tell the catalog. A recording is worth more than its
 * index: whatever goes wrong here is a warning, once, and nothing more.
 */
import { existsSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { catalogDir } from '../base/paths.ts';
import { recordingPaths } from '../recording/folder.ts';
import type { Catalog } from './catalog.ts';
import { canonicalDir } from './links.ts';

/** Shorter than for `ls`, because a VM is running. */
const BUSY_MS = 2000;

export class CatalogNote {
  /** Canonical. */
  readonly #dir: string;
  readonly #warn: (text: string) => void;
  #warned = false;

  /** @param dir of the recording, and there */
  constructor(dir: string, warn: (text: string) => void) {
    this.#dir = canonicalDir(dir);
    this.#warn = warn;
  }

  /** It begins, or was unpacked. Never rejects. */
  async note(): Promise<void> {
    await this.#use((catalog) => catalog.add(this.#dir));
  }

  /** It has ended, well or not; without anything in it its folder is gone. Never rejects. */
  async noteEnd(): Promise<void> {
    if (existsSync(recordingPaths(this.#dir).manifest)) await this.note();
    else await this.#use((catalog) => catalog.forget(this.#dir));
  }

  async #use(action: (catalog: Catalog) => Promise<void> | void): Promise<void> {
    const folder = catalogDir();
    if (folder === null) return;
    try {
      // SQLite is native code: a build of it that does not load is no obstacle either.
      const { Catalog } = await import('./catalog.ts');
      const catalog = new Catalog(folder, { onRemark: this.#warn, busyMs: BUSY_MS });
      try {
        await action(catalog);
      } finally {
        catalog.close();
      }
    } catch (error) {
      if (this.#warned) return;
      this.#warned = true;
      this.#warn(`not in the list of \`understudy ls\`: ${messageOf(error)}`);
    }
  }
}
