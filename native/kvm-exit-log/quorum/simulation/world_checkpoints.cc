// SPDX-License-Identifier: Apache-2.0
// Checkpoints of the simulated hosts: kept, brought to who is too far behind, and restored.
#include <algorithm>
#include <cstring>

#include "bits/errors.h"
#include "simulation/world.h"

namespace quorum {

namespace {

constexpr char kName[] = "checkpoint";

unsigned long long shown(uint64_t number) { return number; }

void writeCheckpoint(Files& files, const Checkpoint& kept) {
  const Base& base = kept.base;
  const uint64_t words[] = {kept.state, base.index, base.term, base.changedAt};
  std::vector<uint8_t> bytes(sizeof words + base.configuration.count);
  memcpy(bytes.data(), words, sizeof words);
  memcpy(bytes.data() + sizeof words, base.configuration.bytes.get(), base.configuration.count);
  const std::string made = std::string(kName) + ".new";
  const std::shared_ptr<File> file = files.create(made);
  file->write(0, bytes.data(), bytes.size());
  file->sync();
  files.rename(made, kName);
  files.syncNames();
}

Checkpoint readCheckpoint(Files& files) {
  const std::vector<std::string> names = files.list();
  if (std::find(names.begin(), names.end(), kName) == names.end()) return Checkpoint{};
  const std::shared_ptr<File> file = files.open(kName);
  uint64_t words[4] = {};
  std::vector<uint8_t> bytes(file->size());
  if (bytes.size() < sizeof words) throw Violation("a checkpoint is not whole");
  file->read(0, bytes.data(), bytes.size());
  memcpy(words, bytes.data(), sizeof words);
  const Slice configuration = Slice::copy(bytes.data() + sizeof words, bytes.size() - sizeof words);
  return Checkpoint{Base{words[1], words[2], words[3], configuration}, words[0]};
}

}  // namespace

void Node::apply(uint64_t index, const Entry& entry) {
  if (index != applied + 1) {
    throw Violation(exitlog::format("replica %llu is told entry %llu, and has the state of %llu",
                                    shown(id), shown(index), shown(applied)));
  }
  state = History::stateBehind(state, entry);
  applied = index;
  world.history.hasState(id, applied, state);
  if (!isKeeping && world.options.checkpointEvery > 0 &&
      applied - kept.base.index >= world.options.checkpointEvery) {
    world.keepCheckpoint(*this);
  }
}

void Node::behind(uint64_t to) { world.bring(*this, to); }

// The state that a host starts with.
void World::restore(Node& node) {
  node.kept = readCheckpoint(node.disk);
  node.applied = node.kept.base.index;
  node.state = node.kept.state;
  history.hasState(node.id, node.applied, node.state);
  if (node.replica->base().index > node.applied) {
    throw Violation(exitlog::format("replica %llu has given up entries up to %llu, and has a "
                                    "checkpoint of %llu",
                                    shown(node.id), shown(node.replica->base().index),
                                    shown(node.applied)));
  }
}

void World::keepCheckpoint(Node& node) {
  node.isKeeping = true;
  const Checkpoint made{node.replica->baseAt(node.applied), node.state};
  const uint64_t took = random.between(1, random.chance(0.2) ? 300 : 20) * kMs;
  at(nowUs_ + took, node.id, node.life, [this, made](Node& of) {
    within(of, [&] {
      writeCheckpoint(of.disk, made);
      of.kept = made;
      of.isKeeping = false;
      trim(of);
    });
  });
}

void World::trim(Node& node) {
  const std::optional<TrimJob> job = node.replica->takeTrim(node.kept.base.index, options.keep);
  if (!job) return;
  at(nowUs_ + random.between(node.syncUs / 2, node.syncUs * 2), node.id, node.life,
     [this, job](Node& of) {
       within(of, [&] {
         job->run();
         of.replica->trimmed(of.clockMs());
         trims++;
         trace("%llu begins at %llu", shown(of.id), shown(of.replica->log().firstIndex()));
       });
     });
}

// What was the newest when it began, and some a second time, when its reader may have gone on.
void World::bring(Node& from, uint64_t to) {
  if (to == 0 || to > nodes_.size() || from.bringing[to] > nowUs_) return;
  uint64_t arrives = nowUs_ + random.between(1, random.chance(0.2) ? 500 : 60) * kMs;
  from.bringing[to] = arrives;
  if (random.chance(network.lost)) return;
  for (int copies = random.chance(0.2) ? 2 : 1; copies > 0; copies--) {
    at(arrives, to, 0, [this, by = from.id, sent = from.kept](Node& node) {
      if (!cut_[by][node.id]) install(node, sent);
    });
    arrives += random.between(1, 300) * kMs;
  }
}

void World::install(Node& node, const Checkpoint& checkpoint) {
  trace("%llu gets the checkpoint of %llu", shown(node.id), shown(checkpoint.base.index));
  kill(node);
  bool isWell = false;
  within(node, [&] {
    if (readCheckpoint(node.disk).base.index < checkpoint.base.index) {
      writeCheckpoint(node.disk, checkpoint);
    }
    try {
      if (Replica::install(node.disk, optionsOf(node), checkpoint.base)) installs++;
    } catch (const exitlog::CorruptError& error) {
      trace("%llu installs nothing: %s", shown(node.id), error.what());
    }
    isWell = true;
  });
  if (isWell) start(node);
}

}  // namespace quorum
