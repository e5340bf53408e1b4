// SPDX-License-Identifier: Apache-2.0
// A side's log as ship and receive know it: what they ask of it, and what has been done.
// Who does it, with files (segment.h) or in a simulation, holds the courier's lock while
// it changes what is here, and not while it reads or writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace exitlog {

struct WriteFault {
  int error;
  std::string what;  // "write of /x/log/000001.udl"
};

// The part of a log that a peer still has to get, read back from where it was written: a
// backup that joins a running VM needs what was sealed before it came, and one that reads
// too slowly what did not fit the queue.
class Backlog {
 public:
  virtual ~Backlog() = default;
  // Batches as they were appended, one behind the other.
  struct Piece {
    const uint8_t* bytes = nullptr;  // valid until the next `read`
    size_t count = 0;
    uint64_t end = 0;  // sequence after the last of them
  };
  // At least one read of a file further: batches from `sequence` on and before `end`,
  // about a megabyte, or none yet.  All before `end` must be written.  Each call goes on
  // where the last one ended.  False: it cannot be read, see `why`.  It may block.
  virtual bool read(uint64_t sequence, uint64_t end, Piece& piece, std::string& why) = 0;
};

// Where a batch is, or will be.
struct LogPlace {
  uint64_t segment;  // number of the file
  uint64_t offset;
};

// After the first fault nothing is written any more: a log with a hole is no log.
class Log {
 public:
  virtual ~Log() = default;

  // Whether another file must be begun before so much is appended.
  virtual bool needsRoll(uint64_t bytes) const = 0;
  // Where the next batch will be; not while `rolling`.
  virtual LogPlace place() const = 0;
  // False: it failed, see fault. It may block. Not while `rolling`.
  virtual bool append(const uint8_t* bytes, uint64_t count, WriteFault& fault) = 0;
  // From a frame's place on.
  virtual std::shared_ptr<Backlog> backlog(LogPlace from) const = 0;

  // What may block for long is asked for, and done meanwhile.
  void askSync() {
    wantSync = true;
    asked();
  }
  void askRoll(uint64_t sequence, uint32_t term) {
    rollSequence = sequence;
    rollTerm = term;
    wantRoll = true;
    asked();
  }
  void askFinish() {
    if (wantFinish) return;
    wantFinish = true;
    asked();
  }
  bool rolling() const { return wantRoll; }
  void fail(const WriteFault& with) {
    faulty = true;
    fault = with;
  }

  // Done before a sync, by whoever syncs; false: it failed, and the log with it. Its owner
  // changes it only while nobody `syncing`.
  std::function<bool(WriteFault&)> beforeSync;
  bool syncing = false;  // or rolling, or finishing
  uint64_t syncingSinceNs = 0;  // CLOCK_MONOTONIC, while `syncing`

  uint64_t writtenEnd = 0;  // batches appended, counted by their owner
  uint64_t syncedEnd = 0;   // of these, on the disk
  bool finished = false;
  bool faulty = false;  // and `fault` says why
  bool faultTold = false;
  WriteFault fault{};
  uint64_t bytesWritten = 0;  // headers included
  uint64_t segment = 0;  // the file's number; `place` is for its owner alone

 protected:
  std::function<void()> asked = [] {};
  bool wantSync = false;
  bool wantRoll = false;
  uint64_t rollSequence = 0;  // of the next file's first batch
  uint32_t rollTerm = 0;
  bool wantFinish = false;
};

}  // namespace exitlog
