// SPDX-License-Identifier: Apache-2.0
/** HTML in which every text is escaped, unless it is HTML already. */
import { escapeXml } from '../charts/svg.ts';

export class Html {
  readonly text: string;

  /** @param text taken as it is */
  constructor(text: string) {
    this.text = text;
  }
}

export function html(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Html)[]
): Html {
  const text = parts.map((part, at) => {
    const value = values[at];
    if (value === undefined) return part;
    return part + (value instanceof Html ? value.text : escapeXml(String(value)));
  });
  return new Html(text.join(''));
}

export function joined(parts: readonly Html[]): Html {
  return new Html(parts.map(({ text }) => text).join(''));
}
