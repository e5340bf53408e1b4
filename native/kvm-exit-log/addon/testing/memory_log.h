// SPDX-License-Identifier: Apache-2.0
// A simulation's log: memory. When a write is done, and whether it succeeds, is the
// simulation's to say.
#pragma once

#include <vector>

#include "bits/frame.h"
#include "bits/layout.h"
#include "store/log.h"

namespace exitlog {

class MemoryLog final : public Log {
 public:
  MemoryLog() { segment = 1; }
  bool needsRoll(uint64_t) const override { return false; }
  LogPlace place() const override { return LogPlace{1, 0}; }
  bool append(const uint8_t* bytes, uint64_t count, WriteFault&) override {
    for (uint64_t at = 0; at < count;) {
      const uint64_t length = frameLength(bytes + at);
      frames_->push_back(Frame{sequenceOf(bytes + at), {bytes + at, bytes + at + length}});
      at += length;
    }
    return true;
  }
  std::shared_ptr<Backlog> backlog(LogPlace) const override {
    return std::make_shared<MemoryBacklog>(frames_);
  }
  void sync() {
    syncedEnd = writtenEnd;
    wantSync = false;
  }

 private:
  struct Frame {
    uint64_t sequence;
    std::vector<uint8_t> bytes;
  };
  using Frames = std::shared_ptr<std::vector<Frame>>;
  static uint64_t sequenceOf(const uint8_t* frame) {
    BatchHead head;
    memcpy(&head, frame + sizeof(FramePrefix), sizeof head);
    return head.header.sequence;
  }
  class MemoryBacklog final : public Backlog {
   public:
    explicit MemoryBacklog(Frames frames) : frames_(std::move(frames)) {}
    // One batch each.
    bool read(uint64_t sequence, uint64_t, Piece& piece, std::string& why) override {
      for (const Frame& frame : *frames_) {
        if (frame.sequence != sequence) continue;
        held_ = frame.bytes;
        piece = Piece{held_.data(), held_.size(), sequence + 1};
        return true;
      }
      why = "it is not there";
      return false;
    }

   private:
    Frames frames_;
    std::vector<uint8_t> held_;
  };
  Frames frames_ = std::make_shared<std::vector<Frame>>();
};

// What is sent waits here until it is taken.
class MemoryOutlet final : public Outlet {
 public:
  void send(const uint8_t* bytes, size_t count) override {
    sent_.insert(sent_.end(), bytes, bytes + count);
  }
  size_t queuedBytes() const override { return 0; }
  std::vector<uint8_t> take() { return std::exchange(sent_, {}); }

 private:
  std::vector<uint8_t> sent_;
};

class VirtualClock final : public Clock {
 public:
  uint64_t monotonicNs() const override { return monotonic; }
  uint64_t realtimeNs() const override { return realtime; }
  uint64_t monotonic = 0;
  uint64_t realtime = 0;
};

}  // namespace exitlog
