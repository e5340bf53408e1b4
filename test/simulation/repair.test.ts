// SPDX-License-Identifier: Apache-2.0
/** Some seeds of each story of many hosts, under each protocol. */
import { REPAIR_SCENARIOS } from './repair-scenarios.ts';
import { testAll } from './run-scenarios.ts';

testAll('repair', REPAIR_SCENARIOS);
