// SPDX-License-Identifier: Apache-2.0
// A socket that carries frames: a length is believed only after its prefix's own checksum.
// One thread at a time reads and writes it: the event loop's first (link_js.h), from the
// hand-over on the courier's, under its lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bits/peer_error.h"
#include "link/outlet.h"

namespace exitlog {

class Link final : public Outlet {
 public:
  // Until `connect`, what is sent is queued.
  Link() = default;
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Takes a connected socket over.
  void connect(int fd);
  bool isConnected() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // Sends now what the socket takes and keeps the rest. Never throws: a broken
  // connection is found by `read`, after what the peer said last.
  void send(const uint8_t* bytes, size_t count) override;
  void flush();
  size_t queuedBytes() const override { return out_.size() - outSent_; }
  // False: the queue is long; `drained` says once that it is empty again.
  bool hasRoom();
  bool drained();

  // Reads what is there, once. False if there was nothing. Throws PeerError when the
  // connection is over.
  bool read();
  struct Frame {
    const uint8_t* bytes;  // valid until the next `read`
    size_t length;
    uint16_t type;
  };
  // The next whole frame. Throws PeerError for what is none.
  bool next(Frame& frame);
  bool hasUnread() const { return end_ > begin_; }

  // The peer sees the end at once, whoever else holds the descriptor.
  void shut();
  // The peer sees the end after what is queued, which gets a second.
  void end();
  bool isEnding() const { return endsNs_ != 0; }
  uint64_t endsNs() const { return endsNs_; }
  // Ending, and nothing is left to be sent, or no time.
  bool hasEnded();

  // CLOCK_MONOTONIC of the last byte that came, also of those not read yet.
  uint64_t heardNs();
  // We refuse to read: that nothing comes means nothing.
  void excuse(uint64_t nowNs) { heardNs_ = nowNs; }

 private:
  [[noreturn]] void lost(const std::string& what) const;
  void sayEnd();
  int fd_ = -1;
  bool shut_ = false;
  uint64_t endsNs_ = 0;
  std::vector<uint8_t> in_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<uint8_t> out_;
  size_t outSent_ = 0;
  bool drainWanted_ = false;
  int sendError_ = 0;
  uint64_t heardNs_ = 0;
  int unreadSeen_ = 0;
};

}  // namespace exitlog
