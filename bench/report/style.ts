// SPDX-License-Identifier: Apache-2.0
/** How the report looks, on a screen and on paper. Light always: figures are drawn on white. */
export const STYLE = `
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a;
  font: 15px/1.5 "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 10px; border-bottom: 1px solid #ccc; padding-bottom: 4px; }
p, li { max-width: 78ch; }
.lead { color: #444; margin-top: 0; }
.warning { background: #fff4d6; border-left: 4px solid #b37400; padding: 8px 12px; }
.bad { color: #a11a12; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 6px; color: #444; }
th, td { border-bottom: 1px solid #d8d8d8; padding: 4px 9px; text-align: right; vertical-align: top; }
th:first-child, td:first-child, .facts th, .facts td { text-align: left; }
thead th { border-bottom: 1.5px solid #1a1a1a; vertical-align: bottom; }
tbody th { font-weight: normal; }
.tables { display: flex; flex-wrap: wrap; gap: 26px 36px; align-items: flex-start; }
.tables table { break-inside: avoid; }
.tables caption { font-weight: bold; color: #1a1a1a; font-size: 14px; }
.results td, .results th { white-space: nowrap; padding: 3px 8px; }
th small { color: #444; display: block; font-size: 11.5px; font-weight: normal; }
td small { color: #444; display: block; font-size: 11.5px; }
td .noisy { color: #8a5a00; }
td.none { color: #666; }
sup { font-size: 10px; line-height: 0; margin-left: 2px; }
figure { margin: 26px 0 34px; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; border: 1px solid #ddd; }
figcaption { font-size: 13px; color: #444; margin-top: 6px; }
ol.notes { font-size: 13px; padding-left: 28px; }
ol.notes li { max-width: none; }
pre { background: #f4f4f4; padding: 10px 12px; overflow-x: auto; font-size: 13px; }
code { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 92%; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  .results { font-size: 10px; } a { color: inherit; } }
`.trim();
