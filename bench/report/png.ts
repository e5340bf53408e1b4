// SPDX-License-Identifier: Apache-2.0
/** SVG to PNG, with a font of our own: a container has none, and every host draws the same. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';

/** Scale of the drawing's own size: sharp on paper at 200 dots per inch. */
const ZOOM = 2;
const FILES = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf', 'DejaVuSans-Oblique.ttf'];

export function svgToPng(svg: string): Buffer {
  const fonts = join(
    dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')),
    'ttf',
  );
  const drawing = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: ZOOM },
    font: {
      loadSystemFonts: false,
      fontFiles: FILES.map((file) => join(fonts, file)),
      defaultFontFamily: 'DejaVu Sans',
    },
  });
  return Buffer.from(drawing.render().asPng());
}
