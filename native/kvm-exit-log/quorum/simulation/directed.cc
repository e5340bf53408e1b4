// SPDX-License-Identifier: Apache-2.0
#include "bits/errors.h"
#include "simulation/schedule.h"

namespace quorum {

namespace {

// A world in which only those links are whole that the schedule opens.
class Directed {
 public:
  Directed(const WorldOptions& options) : world(options) {}

  void cutAll() {
    for (auto& one : world.nodes()) {
      for (auto& other : world.nodes()) world.cut(one->id, other->id, true);
    }
  }

  void open(uint64_t one, uint64_t other) {
    world.cut(one, other, false);
    world.cut(other, one, false);
  }

  Replica& replica(uint64_t id) { return *world.node(id).replica; }

  template <class Holds>
  void await(const char* what, Holds holds) {
    for (int i = 0; i < 100000 && !holds(); i++) world.runFor(50);
    if (!holds()) throw std::logic_error(std::string("the schedule waits in vain: ") + what);
  }

  void awaitLeader(uint64_t id) {
    await("a leader", [&] { return replica(id).role() == Role::leader; });
  }

  // All run and hear each other, and all are told the same.
  Outcome settled() {
    world.heal();
    for (auto& node : world.nodes()) world.start(*node);
    await("an answer", [&] {
      Node* leader = world.leader();
      if (leader == nullptr) return false;
      const uint64_t request = world.requests + 1;
      world.submit(*leader);
      world.runFor(50 * kMs);
      return world.history.isAnswered(request);
    });
    await("the others", [&] {
      for (auto& node : world.nodes()) {
        if (node->replica->committedIndex() < world.history.last()) return false;
      }
      return true;
    });
    Outcome outcome;
    outcome.answers = world.history.answers();
    outcome.entries = world.history.last();
    outcome.terms = world.history.terms();
    outcome.steps = world.steps;
    return outcome;
  }

  World world;
};

}  // namespace

Outcome playFigure8(uint64_t seed, bool isTraced) {
  WorldOptions options;
  options.seed = seed;
  options.replicas = 5;
  options.inFlightMax = 1;
  options.isTraced = isTraced;
  Directed play(options);
  World& world = play.world;
  play.cutAll();
  for (uint64_t id = 2; id <= 5; id++) play.open(1, id);
  play.awaitLeader(1);
  world.submit(world.node(1));
  play.await("the first entries", [&] {
    for (auto& node : world.nodes()) {
      if (node->replica->committedIndex() < play.replica(1).lastIndex()) return false;
    }
    return true;
  });
  const uint64_t at = play.replica(1).lastIndex() + 1;

  // (a) 1 leads; 2 gets an entry, and nobody else.
  play.cutAll();
  play.open(1, 2);
  world.submit(world.node(1));
  play.await("2 has it", [&] { return play.replica(2).log().syncedIndex() >= at; });
  world.kill(world.node(1));
  world.kill(world.node(2));

  // (b) 5 leads, and gets another one at that index, alone.
  play.cutAll();
  play.open(5, 3);
  play.open(5, 4);
  play.awaitLeader(5);
  play.cutAll();
  world.submit(world.node(5));
  play.await("5 has its own", [&] { return play.replica(5).log().syncedIndex() >= at; });
  world.kill(world.node(5));

  // (c) 1 leads again, and 3 gets the old entry: a majority has it. 3 gets nothing of the new term.
  world.start(world.node(1));
  world.start(world.node(2));
  play.open(1, 2);
  play.open(1, 3);
  play.awaitLeader(1);
  play.await("3 has it", [&] { return play.replica(3).lastIndex() >= at; });
  world.cut(1, 3, true);
  world.runFor(20 * kMs);
  if (play.replica(3).lastIndex() != at) throw std::logic_error("3 got more than one entry");
  world.kill(world.node(1));
  world.kill(world.node(2));

  // (d) 5 leads again, and its entry is the one.
  world.start(world.node(5));
  play.cutAll();
  play.open(5, 3);
  play.open(5, 4);
  play.awaitLeader(5);
  world.submit(world.node(5));
  play.await("it is told", [&] { return play.replica(5).committedIndex() > at; });
  return play.settled();
}

Outcome playTwoVotes(uint64_t seed, bool isTraced) {
  WorldOptions options;
  options.seed = seed;
  options.replicas = 5;
  options.isTraced = isTraced;
  Directed play(options);
  World& world = play.world;
  play.await("a first leader", [&] { return world.leader() != nullptr; });
  world.runFor(300 * kMs);
  play.cutAll();
  world.runFor(500 * kMs);
  // 2 and 4 vote for 1, and 2's host loses power; then 3 asks for its vote, and 5's, in the same term.
  play.open(1, 2);
  play.open(1, 4);
  play.awaitLeader(1);
  world.cutPower(world.node(2));
  play.cutAll();
  world.start(world.node(2));
  play.open(3, 2);
  play.open(3, 5);
  play.awaitLeader(3);
  return play.settled();
}

}  // namespace quorum
