// SPDX-License-Identifier: Apache-2.0
/**
 * The process that touches the arbiter's folder for one daemon (dir.ts), and may hang with it. It
 * ends with its daemon, at once: a claim that is won for one who is dead keeps the other side out.
 */
import { messageOf } from '../base/errors.ts';
import type { DirQuestions } from './dir.ts';
import { claimInDir, holderInDir, probeDir } from './dir-claims.ts';
import { answerQuestions } from './off-loop.ts';

const answers: DirQuestions = {
  claim: claimInDir,
  holder: holderInDir,
  probe: async (path) => {
    await probeDir(path);
    return null;
  },
};

answerQuestions(answers, (error) => `is not reachable: ${messageOf(error)}`);
