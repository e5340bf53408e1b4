// SPDX-License-Identifier: Apache-2.0
/** Some seeds of each story of a pair, under each protocol; `npm run campaign:simulation` has more. */
import { PAIR_SCENARIOS } from './pair-scenarios.ts';
import { testAll } from './run-scenarios.ts';

testAll('pair', PAIR_SCENARIOS);
