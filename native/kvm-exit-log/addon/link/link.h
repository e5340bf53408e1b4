// SPDX-License-Identifier: Apache-2.0
// A socket that carries frames: a length is believed only after its prefix's own checksum.
// One thread at a time reads and writes it: the event loop's first (link_js.h), from the
// hand-over on the courier's, under its lock.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bits/peer_error.h"
#include "link/outlet.h"
#include "link/tls.h"

namespace exitlog {

class Link final : public Outlet {
 public:
  // Until `connect`, what is sent is queued.
  Link() = default;
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Nothing is sent, nor believed, but what is sealed for or by who has that name; before
  // `connect`.
  void secure(std::shared_ptr<const Keys> keys, bool listens, std::string peerName);
  // Takes a connected socket over.
  void connect(int fd);
  bool isConnected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  // Frames can go both ways: the peer is who it has to be.
  bool isOpen() const { return isConnected() && (!tls_ || tls_->isOpen()); }

  // Sends now what the socket takes and keeps the rest. Never throws: a broken
  // connection is found by `read`, after what the peer said last.
  void send(const uint8_t* bytes, size_t count) override;
  void begin(const uint8_t* bytes, size_t count) override;
  void flush() { flush(0); }
  size_t queuedBytes() const override { return toWrite() + early_.size(); }
  // What the socket has not taken yet.
  size_t toWrite() const { return out_.size() - outSent_; }
  // Bytes that the peer's host does not have yet, and those that it has.
  uint64_t outstanding() const;
  uint64_t carried() const { return putBytes_ - std::min(putBytes_, outstanding()); }
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
  // The next whole frame. Throws PeerError for what is none, and for an end that was read.
  bool next(Frame& frame);
  bool hasUnread() const { return end_ > begin_ || fault_; }

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
  void put(const uint8_t* bytes, size_t count, int flags);
  void sayEnd();
  void queue(const uint8_t* bytes, size_t count, int flags);
  void flush(int flags);
  size_t receive(uint8_t* into, size_t room);
  void unseal(size_t count);
  uint64_t frameDue() const;
  bool none() const;
  void tidy();
  int fd_ = -1;
  bool shut_ = false;
  uint64_t endsNs_ = 0;
  std::vector<uint8_t> in_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<uint8_t> out_;
  size_t outSent_ = 0;
  uint64_t putBytes_ = 0;
  std::unique_ptr<Tls> tls_;      // appends to out_; null: nothing is sealed
  std::vector<uint8_t> sealed_;   // just received
  std::vector<uint8_t> early_;    // to be sealed once both have keys
  std::unique_ptr<PeerError> fault_;  // to be told after the last whole frame
  bool drainWanted_ = false;
  int sendError_ = 0;
  uint64_t heardNs_ = 0;
  int unreadSeen_ = 0;
};

}  // namespace exitlog
