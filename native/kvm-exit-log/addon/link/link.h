// SPDX-License-Identifier: Apache-2.0
// A connected socket that carries frames, as src/wire/connection.ts is: a length is
// believed only after its prefix's own checksum. Used under the courier's lock.
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
  // Takes the descriptor over. `leftover`: received before, not yet looked at.
  Link(int fd, const uint8_t* leftover, size_t leftoverBytes);
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  int fd() const { return fd_; }

  // Sends now what the socket takes and keeps the rest. Never throws: a broken
  // connection is found by `read`, after what the peer said last.
  void send(const uint8_t* bytes, size_t count) override;
  void flush();
  size_t queuedBytes() const override { return out_.size() - outSent_; }

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
  // The peer sees the end after what was sent. Nothing is read any more.
  void end();

  // CLOCK_MONOTONIC of the last byte that came, also of those not read yet.
  uint64_t heardNs();

 private:
  [[noreturn]] void lost(const std::string& what) const;
  int fd_;
  bool shut_ = false;
  std::vector<uint8_t> in_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<uint8_t> out_;
  size_t outSent_ = 0;
  int sendError_ = 0;
  uint64_t heardNs_;
  int unreadSeen_ = 0;
};

}  // namespace exitlog
