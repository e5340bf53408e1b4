// SPDX-License-Identifier: Apache-2.0
/** Text of somebody else, as it can be shown. */

/** What is cut from a message that is longer is nothing that a person would read. */
const MESSAGE_CHARS_MAX = 2000;

/**
 * On one line, without characters that move a terminal's cursor, set its title or change
 * the direction of writing.
 */
export function printable(text: string): string {
  return text.replace(/\r?\n/g, ' / ').replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** The same of a message for people. */
export function printableMessage(text: string): string {
  const cut = text.length > MESSAGE_CHARS_MAX ? `${text.slice(0, MESSAGE_CHARS_MAX)}…` : text;
  return printable(cut);
}
