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

namespace exitlog {

struct WriteFault {
  int error;
  std::string what;  // "write of /x/log/000001.udl"
};

struct SegmentStart {
  int fd;  // taken over; -1: see adopt
  std::string dir;
  uint64_t index;
  uint64_t offset;
  uint64_t bytesMax;
  std::vector<uint8_t> header;  // the first file's header frame
};

// Appended to by the courier's thread alone, and not while `rolling`. After the first
// fault nothing is written any more: a log with a hole is no log.
class Segment {
 public:
  static std::string pathOf(const std::string& dir, uint64_t index);
  explicit Segment(SegmentStart start);
  void adopt(int fd) { start_.fd = fd; }
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  bool needsRoll(uint64_t bytes) const { return hasBatch_ && offset_ + bytes > start_.bytesMax; }
  // False: it failed, see fault. Without the courier's lock: it may block.
  bool append(const uint8_t* bytes, uint64_t count, WriteFault& fault);

  // Where the next batch will be; not while `rolling`.
  const std::string& dir() const { return start_.dir; }
  uint64_t index() const { return start_.index; }
  uint64_t offset() const { return offset_; }

  // What the syncer is asked for and has done; under the courier's lock.
  uint64_t writtenEnd = 0;  // batches written, counted by their owner
  uint64_t syncedEnd = 0;
  bool wantSync = false;
  bool wantRoll = false;
  uint64_t rollSequence = 0;  // of the next file's first batch
  uint32_t rollTerm = 0;
  bool rolling() const { return wantRoll; }
  bool wantFinish = false;
  bool finished = false;
  bool faulty = false;  // and `fault` says why
  bool faultTold = false;
  WriteFault fault{};
  uint64_t bytesWritten = 0;  // headers included

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
  void own(Segment* segment) { segments_.push_back(segment); }
  // Under the lock: one of the segments wants something.
  void wake();
  // Without the lock. Waits for what is being done now, not for what is wanted.
  void stop();

 private:
  void run();
  std::mutex& mutex_;
  std::function<void()> done_;
  std::condition_variable changed_;
  std::vector<Segment*> segments_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace exitlog
