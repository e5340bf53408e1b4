// SPDX-License-Identifier: Apache-2.0
// A replica's term and vote. They are on the disk before anybody hears of them: a replica that
// forgot its vote could vote twice in one term, for two leaders.
#pragma once

#include "core/files.h"

namespace quorum {

struct Vote {
  uint64_t term = 0;
  uint64_t votedFor = 0;  // 0: nobody
};

class VoteFile {
 public:
  // What it reads is on the disk when it returns. Throws CorruptError where there is a vote, and
  // nothing in it is whole or it is another's.
  VoteFile(Files& files, uint64_t cluster, uint64_t id);
  const Vote& vote() const { return vote_; }
  // Which boot of the host the log beside it was written in without syncs; 0: it is synced.
  uint64_t boot() const { return boot_; }
  // Returns when it is on the disk.
  void write(const Vote& vote, uint64_t boot);

 private:
  void put(uint64_t generation, const void* slot, size_t bytes);
  Files& files_;
  const uint64_t cluster_;
  const uint64_t id_;
  std::shared_ptr<File> file_;
  Vote vote_;
  uint64_t boot_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace quorum
