// SPDX-License-Identifier: Apache-2.0
/**
 * Colour of text: only on a terminal, and never where NO_COLOR is set (no-color.org). Whoever
 * colours takes the stream's own; a test sees to it that nobody takes chalk.
 */
import {
  Chalk,
  type ChalkInstance,
  type ColorInfo,
  type ColorSupportLevel,
  supportsColor,
  supportsColorStderr,
} from 'chalk';

/** @param support what chalk has found of the stream: nothing where it is no terminal */
export function colourLevel(
  support: ColorInfo,
  { NO_COLOR = '' }: NodeJS.ProcessEnv = process.env,
): ColorSupportLevel {
  return NO_COLOR !== '' || support === false ? 0 : support.level;
}

export const colour: ChalkInstance = new Chalk({ level: colourLevel(supportsColor) });
export const colourStderr: ChalkInstance = new Chalk({ level: colourLevel(supportsColorStderr) });
