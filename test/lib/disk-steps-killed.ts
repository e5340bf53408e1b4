// SPDX-License-Identifier: Apache-2.0
/** A process that kills itself before a step: COUNT DISK… */
import { openJournal } from '../../native/kvm-exit-log/testing.ts';
import { DiskSteps, stepsOf } from './disk-steps.ts';

const [count, ...disks] = process.argv.slice(2);
const journal = openJournal(disks, false);
const all = new DiskSteps();
for (const step of stepsOf(2).slice(0, Number(count))) all.play(journal, step);
process.kill(process.pid, 'SIGKILL');
