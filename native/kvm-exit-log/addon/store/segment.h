// SPDX-License-Identifier: Apache-2.0
// The file that batches are appended to, and the thread that does what may block for
// long: fdatasync, and finishing one file and beginning the next. docs/log-format.md
// has the format; src/log/log-file.ts makes the first file.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/log.h"

namespace exitlog {

struct SegmentStart {
  int fd;  // taken over; -1: see adopt
  std::string dir;
  uint64_t index;
  uint64_t offset;
  uint64_t bytesMax;
  std::vector<uint8_t> header;  // the first file's header frame
};

// Appended to by the courier's thread alone.
class Segment final : public Log {
 public:
  static std::string pathOf(const std::string& dir, uint64_t index);
  explicit Segment(SegmentStart start);
  void adopt(int fd) { start_.fd = fd; }
  ~Segment() override;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  bool needsRoll(uint64_t bytes) const override {
    return hasBatch_ && offset_ + bytes > start_.bytesMax;
  }
  LogPlace place() const override { return LogPlace{start_.index, offset_}; }
  bool append(const uint8_t* bytes, uint64_t count, WriteFault& fault) override;
  std::shared_ptr<Backlog> backlog(LogPlace from) const override;

 private:
  friend class Syncer;
  bool sync(WriteFault& fault);
  bool roll(WriteFault& fault);
  bool finish(WriteFault& fault);
  std::string path() const { return pathOf(start_.dir, start_.index); }
  bool failed(WriteFault& fault, int error, const std::string& what);
  SegmentStart start_;
  uint64_t offset_;
  bool hasBatch_ = false;
};

class Syncer {
 public:
  // `done` is called, under the lock, when something was done.
  Syncer(std::mutex& lock, std::function<void()> done) : mutex_(lock), done_(std::move(done)) {}
  ~Syncer() { stop(); }
  // From now on it does what this one asks for.
  void own(Segment& segment);
  // Without the lock. Waits for what is being done now, not for what is wanted.
  void stop();

 private:
  void wake();
  void run();
  std::mutex& mutex_;
  std::function<void()> done_;
  std::condition_variable changed_;
  std::vector<Segment*> segments_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace exitlog
