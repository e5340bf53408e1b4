// SPDX-License-Identifier: Apache-2.0
/** The catalog as commands open it. */
import { UnderstudyError } from '../base/errors.ts';
import { catalogDir } from '../base/paths.ts';
import { Catalog } from '../catalog/catalog.ts';
import { say } from './output.ts';

/** @throws UnderstudyError usage when it is switched off, catalog-unusable */
export function openCatalog(): Catalog {
  const folder = catalogDir();
  if (folder === null) {
    throw new UnderstudyError(
      'usage',
      'UNDERSTUDY_CATALOG_DIR is "off": there is no index of recordings; unset it',
    );
  }
  return new Catalog(folder, { onRemark: say });
}
