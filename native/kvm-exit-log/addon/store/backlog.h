// SPDX-License-Identifier: Apache-2.0
// A backlog (log.h) in segment files. Only what finding a batch needs is looked at: the
// peer verifies every byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/log.h"

namespace exitlog {

class FileBacklog final : public Backlog {
 public:
  // `from`: where a frame begins.
  FileBacklog(std::string dir, LogPlace from);
  ~FileBacklog() override;
  FileBacklog(const FileBacklog&) = delete;
  FileBacklog& operator=(const FileBacklog&) = delete;

  // What is missing in one file is in the next.
  bool read(uint64_t sequence, uint64_t end, Piece& piece, std::string& why) override;

 private:
  bool open(std::string& why);
  void nextFile();
  std::string path() const;
  std::string dir_;
  uint64_t index_;
  uint64_t offset_;
  int fd_ = -1;
  std::vector<uint8_t> buffer_;  // holds any frame of ours
};

}  // namespace exitlog
