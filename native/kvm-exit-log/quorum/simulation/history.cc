// SPDX-License-Identifier: Apache-2.0
#include "simulation/history.h"

#include "bits/checksum.h"
#include "bits/errors.h"

namespace quorum {

using exitlog::format;

namespace {

unsigned long long shown(uint64_t number) { return number; }

}  // namespace

void History::told(uint64_t replica, uint64_t index, const Entry& entry) {
  const Seen now{entry.term, entry.checksum, entry.kind, replica, 0};
  if (index == entries_.size() + 1) {
    const uint64_t state = stateBehind(entries_.empty() ? 0 : entries_.back().state, entry);
    entries_.push_back(Seen{now.term, now.checksum, now.kind, replica, state});
    return;
  }
  if (index == 0 || index > entries_.size()) {
    throw Violation(format("replica %llu is told entry %llu, and nobody %llu", shown(replica),
                           shown(index), shown(entries_.size() + 1)));
  }
  const Seen& before = entries_[index - 1];
  if (before.term != now.term || before.checksum != now.checksum || before.kind != now.kind) {
    throw Violation(format("two histories: entry %llu is of term %llu for replica %llu, and of term "
                           "%llu for replica %llu",
                           shown(index), shown(before.term), shown(before.by), shown(now.term),
                           shown(replica)));
  }
}

uint64_t History::stateBehind(uint64_t before, const Entry& entry) {
  const uint64_t words[] = {before, entry.term, entry.checksum, static_cast<uint64_t>(entry.kind)};
  return exitlog::xxh64(reinterpret_cast<const uint8_t*>(words), sizeof words);
}

void History::hasState(uint64_t replica, uint64_t index, uint64_t state) const {
  if (index == 0 && state == 0) return;
  if (index == 0 || index > entries_.size() || entries_[index - 1].state != state) {
    throw Violation(format("replica %llu has another state than that of entry %llu", shown(replica),
                           shown(index)));
  }
}

void History::answered(uint64_t replica, uint64_t term, uint64_t request, uint64_t index) {
  const auto releaser = releasers_.emplace(term, replica).first;
  if (releaser->second != replica) {
    throw Violation(format("replicas %llu and %llu both answer in term %llu",
                           shown(releaser->second), shown(replica), shown(term)));
  }
  if (!answers_.emplace(request, index).second) {
    throw Violation(format("request %llu is answered twice", shown(request)));
  }
}

void History::leads(uint64_t replica, uint64_t term) {
  const auto leader = leaders_.emplace(term, replica).first;
  if (leader->second != replica) {
    throw Violation(format("replicas %llu and %llu both lead in term %llu", shown(leader->second),
                           shown(replica), shown(term)));
  }
}

void History::covers(uint64_t index) const {
  for (const auto& [request, at] : answers_) {
    if (at > index) {
      throw Violation(format("request %llu was answered, and its entry %llu is in no log",
                             shown(request), shown(at)));
    }
  }
}

}  // namespace quorum
