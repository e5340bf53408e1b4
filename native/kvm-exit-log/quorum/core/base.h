// SPDX-License-Identifier: Apache-2.0
// Where a log begins that was trimmed: entries up to an index are in a checkpoint, which is the
// host's, and on its disk before any of this is. docs/quorum.md has the format.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/entry.h"
#include "core/files.h"

namespace quorum {

// What is kept of the entries that a checkpoint stands for.
struct Base {
  uint64_t index = 0;  // of the last one; 0: there is no base
  uint64_t term = 0;
  uint64_t changedAt = 0;  // index of the entry that said who the replicas are
  Slice configuration;     // and what it said
};

// A base, and the first segment that is the log's: those before it are no longer.
struct KeptBase {
  Base base;
  uint64_t segment = 1;
  uint64_t firstIndex = 1;  // base.index + 1 where the log went on with nothing
  uint64_t previous = 0;    // as an EntryHead's
};

// None: there is no base. Throws CorruptError.
std::optional<KeptBase> readBase(Files& files, uint64_t cluster);
// Returns when it is on the disk; until then the one before counts.
void writeBase(Files& files, uint64_t cluster, const KeptBase& kept);

// All that trimming a log does to the disk; it touches nothing of the log's, and ends before the
// folder is opened again.
struct TrimJob {
  Files* files = nullptr;
  uint64_t cluster = 0;
  KeptBase kept;
  std::vector<std::string> dropped;
  void run() const;
};

}  // namespace quorum
