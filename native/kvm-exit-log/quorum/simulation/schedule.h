// SPDX-License-Identifier: Apache-2.0
// What happens to a world: by chance, or step by step.
#pragma once

#include "simulation/world.h"

namespace quorum {

struct Outcome {
  uint64_t answers = 0;
  uint64_t entries = 0;
  uint64_t terms = 0;
  uint64_t steps = 0;
  uint64_t faults = 0;
  uint64_t changes = 0;  // of membership, asked for
  uint64_t trims = 0;
  uint64_t installs = 0;  // of checkpoints
};

// Storms of faults and requests, and calms in which all that can run does: then a request must be
// answered, and every replica told of it. Throws a Violation.
Outcome playRandom(uint64_t seed, bool isTraced);

// The Raft paper's figure 8: an older term's entry that a majority holds, and that a later leader
// replaces. Nobody may have been told of it.
Outcome playFigure8(uint64_t seed, bool isTraced);

// Two candidates ask a replica for its vote in one term, and its host loses power in between.
Outcome playTwoVotes(uint64_t seed, bool isTraced);

// A disk hangs under a vote: the end of it comes by name, within its limit, and the folder stays
// locked until the disk goes on.
Outcome playHungDisk(uint64_t seed, bool isTraced);

}  // namespace quorum
