// SPDX-License-Identifier: Apache-2.0
/** The accelerators, each exported by its name in VM.toml's `accel`. */
export { tcg } from './tcg.ts';
export { tcgMulti as 'tcg-multi' } from './tcg-multi.ts';
