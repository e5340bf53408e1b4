// SPDX-License-Identifier: Apache-2.0
#include "simulation/schedule.h"

#include "bits/errors.h"

namespace quorum {

namespace {
Outcome outcomeOf(const World& world) {
  Outcome outcome;
  outcome.answers = world.history.answers();
  outcome.entries = world.history.last();
  outcome.terms = world.history.terms();
  outcome.steps = world.steps;
  return outcome;
}
}  // namespace

Outcome playFigure8(uint64_t seed, bool isTraced) {
  WorldOptions options;
  options.seed = seed;
  options.isTraced = isTraced;
  World world(options);
  return outcomeOf(world);
}

Outcome playTwoVotes(uint64_t seed, bool isTraced) {
  WorldOptions options;
  options.seed = seed;
  options.isTraced = isTraced;
  World world(options);
  return outcomeOf(world);
}

}  // namespace quorum
