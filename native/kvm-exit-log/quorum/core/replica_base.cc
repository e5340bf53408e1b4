// SPDX-License-Identifier: Apache-2.0
// A log that gives up entries which a checkpoint has, and one that goes on behind a checkpoint.
#include <algorithm>

#include "bits/errors.h"
#include "core/replica.h"

namespace quorum {

// libraft takes its configuration over.
raft_snapshot_metadata Replica::metadataOf(const Base& base) {
  raft_snapshot_metadata metadata{};
  metadata.index = base.index;
  metadata.term = base.term;
  metadata.configuration_index = base.changedAt;
  const raft_buffer bytes{const_cast<uint8_t*>(base.configuration.bytes.get()),
                          base.configuration.count};
  if (raft_configuration_decode(&bytes, &metadata.configuration) != 0) throw std::bad_alloc();
  return metadata;
}

Base Replica::baseAt(uint64_t index) const {
  if (index == base().index) return base();
  if (index < base().index || index > told_) throw std::logic_error("no base can be there");
  const auto change = std::prev(changes_.upper_bound(index));
  return Base{index, log_->entries(index, 1)[0].term, change->first, change->second};
}

std::optional<TrimJob> Replica::takeTrim(uint64_t index, uint64_t keep) {
  const uint64_t stored = options_.isDurable ? log_->syncedIndex() : log_->lastIndex();
  if (trimming_ || index <= base().index || index > std::min(told_, stored)) return std::nullopt;
  TrimJob job = log_->trimJob(baseAt(index), keep);
  trimming_ = job.kept;
  return job;
}

void Replica::trimmed(uint64_t nowMs) {
  const KeptBase kept = *trimming_;
  trimming_.reset();
  raft_event event{};
  event.type = RAFT_SNAPSHOT;
  event.snapshot.metadata = metadataOf(kept.base);
  event.snapshot.trailing = static_cast<unsigned>(kept.base.index + 1 - kept.firstIndex);
  step(nowMs, event);
  log_->trimDone(kept);
  changes_.erase(changes_.begin(), changes_.find(kept.base.changedAt));
  settle(nowMs);
}

bool Replica::install(Files& files, const ReplicaOptions& options, const Base& base) {
  checkBase(base);
  VoteFile vote(files, options.log.cluster, options.id);
  checkBoot(vote, options);
  {
    LogOptions about = options.log;
    about.isDurable = options.isDurable;
    EntryLog log(files, about, [](uint64_t, const Entry&) {});
    // It may have acknowledged what is behind that entry.
    const bool hasAll = base.index <= log.base().index ||
                        (base.index <= log.lastIndex() &&
                         log.entries(base.index, 1)[0].term == base.term);
    if (hasAll) return false;
  }
  // A log has a vote beside it, of no older term.
  const uint64_t boot = options.isDurable ? 0 : options.boot;
  if (vote.vote().term < base.term) vote.write(Vote{base.term, 0}, boot);
  EntryLog::install(files, options.log.cluster, base);
  return true;
}

}  // namespace quorum
