// SPDX-License-Identifier: Apache-2.0
// A replica's log: entries 1, 2, … in segment files, of which the first may be in a checkpoint and
// gone (core/base.h). What is appended is written at once and synced by whoever takes the job
// (`takeSync`), so that one sync covers all that came meanwhile.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>

#include "core/base.h"
#include "core/segment_format.h"

namespace quorum {

struct LogOptions {
  uint64_t cluster = 0;
  uint64_t segmentBytes = 64u << 20;
  // The last entries, for followers that are close behind; older ones are read from the files.
  uint64_t cacheBytes = 32u << 20;
  bool isDurable = true;  // else nothing of it is ever synced but a truncation
};

// Everything that a sync has to do; it touches nothing of the log's.
struct SyncJob {
  std::vector<std::shared_ptr<File>> files;
  Files* names = nullptr;
  uint64_t end = 0;  // index of the last entry that is on the disk when it is done
  void run() const;
};

class EntryLog {
 public:
  // Reads what is there, and cuts off a torn end. Throws CorruptError for damage to what was on
  // the disk. `each` is told every entry, in order.
  EntryLog(Files& files, LogOptions options,
           const std::function<void(uint64_t index, const Entry&)>& each);

  // Goes on behind a checkpoint, with nothing of what was there. No log may be open.
  static void install(Files& files, uint64_t cluster, const Base& base);

  const Base& base() const { return base_; }
  // That is there: behind the base, or some way before it.
  uint64_t firstIndex() const { return first_; }
  uint64_t lastIndex() const { return last_; }
  uint64_t lastTerm() const { return lastTerm_; }
  // Throws DiskError; the log is not to be used after that.
  void append(const Entry& entry);
  // Deletes entries from `index` on. They are gone from the disk, too, when it returns.
  void truncate(uint64_t index);
  // Entries that are there. It may read.
  std::vector<Entry> entries(uint64_t first, uint64_t count);

  bool isSynced() const { return synced_ == last_; }
  uint64_t syncedIndex() const { return synced_; }
  // What is to be synced, of which one at a time may be under way.
  SyncJob takeSync();
  void syncDone();

  // A new base, with `keep` entries or more before it, in whole segments. One at a time.
  TrimJob trimJob(const Base& base, uint64_t keep);
  void trimDone(const KeptBase& kept);

  uint64_t cachedBytes() const { return cached_; }

 private:
  struct Mark {
    uint64_t index;
    uint64_t offset;
  };
  struct Segment {
    std::shared_ptr<File> file;
    uint64_t firstIndex = 0;
    uint64_t previous = 0;
    uint64_t end = 0;          // offset behind its last entry
    std::vector<Mark> marks;  // of some entries, in order
    bool isDirty = false;
  };
  using Segments = std::map<uint64_t, Segment>;

  void loadBase();
  bool load(uint64_t number, const std::function<void(uint64_t, const Entry&)>& each);
  void damaged(uint64_t number, uint64_t offset) const;
  void dropBehind(uint64_t number);
  void renew();
  void begin();
  void note(Segment& segment, uint64_t offset);
  void cache(const Entry& entry);
  Segments::iterator holder(uint64_t index);
  // Where an entry is, and its head.
  uint64_t find(SegmentReader& reader, const Segment& segment, uint64_t index, EntryHead& head);

  void read(uint64_t first, uint64_t count, std::vector<Entry>& into);

  Files& files_;
  const LogOptions options_;
  Base base_;
  Segments segments_;
  uint64_t firstSegment_ = 1;
  uint64_t first_ = 1;
  uint64_t last_ = 0;
  uint64_t lastTerm_ = 0;
  uint64_t chain_ = 0;  // checksum of the last head
  std::deque<Entry> cache_;  // the last ones, up to last_
  uint64_t cached_ = 0;
  uint64_t synced_ = 0;  // while it is opened: what heads say that was
  std::optional<uint64_t> syncing_;
  bool namesDirty_ = false;
};

}  // namespace quorum
