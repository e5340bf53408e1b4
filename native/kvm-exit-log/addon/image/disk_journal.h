// SPDX-License-Identifier: Apache-2.0
// A redo journal: the disks of an image are at an epoch, or can be redone to one, whenever the
// process that writes them dies. Where `durable` is asked for, also whenever its host does.
//
// An epoch's writes are appended (`prepare`), then it may be acknowledged, then they are written in
// place (`begin` to `end`). The file lies beside the first disk; a mark beside each other one
// names it. Whoever starts from these disks has to look for it (redo.h).
//
// At most kSpanBytes and one epoch long.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <string>
#include <vector>

#include "image/disks.h"
#include "image/journal_format.h"

namespace exitlog {

class DiskJournal final : public DiskWriter {
 public:
  // Raw images, as they are: a journal that lies beside them is of no use any more. Throws
  // std::system_error.
  DiskJournal(const std::vector<std::string>& paths, bool durable);
  // The journal is removed, unless an epoch is on the disks in part.
  ~DiskJournal() override;
  DiskJournal(const DiskJournal&) = delete;
  DiskJournal& operator=(const DiskJournal&) = delete;

  uint64_t bytes(uint64_t disk) const override { return disks_.bytes(disk); }
  void prepare(uint64_t epoch, const std::vector<DiskWrite>& writes) override;
  void begin(uint64_t epoch) override;
  void write(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) override {
    disks_.write(disk, offset, data, bytes);
  }
  void end(uint64_t epoch) override;
  void sync() override { disks_.sync(); }
  void leave() override;

 private:
  static constexpr uint64_t kSpanBytes = 64u << 20;

  void make();
  void append(const std::vector<struct iovec>& parts, uint64_t bytes);
  void putMark(uint64_t begunEnd);
  // Nothing of it is needed any more: what comes next begins where the first began.
  void trim();
  void shorten();
  void remove();
  [[noreturn]] void fail(const std::string& path) const;

  const std::vector<std::string> images_;
  const std::string path_;
  const bool isDurable_;
  DiskFiles disks_;
  JournalHead head_{};
  int fd_ = -1;
  uint64_t generation_ = 1;
  // After the last epoch that is on the disks.
  uint64_t doneEnd_ = kJournalStart;
  uint64_t doneChain_ = 0;
  // After the one that was prepared.
  uint64_t end_ = 0;
  uint64_t chain_ = 0;
  uint64_t fileEnd_ = kJournalStart;
  bool hasBegun_ = false;  // an epoch is on the disks in part
};

}  // namespace exitlog
