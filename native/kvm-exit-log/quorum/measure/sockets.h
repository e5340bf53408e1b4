// SPDX-License-Identifier: Apache-2.0
// Packets over TCP between the processes of a measurement, on one thread.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "core/message.h"

namespace quorum {

class Sockets {
 public:
  using Heard = std::function<void(uint64_t from, Slice packet)>;

  // All of them on loopback, replica N at a port behind `port`. Returns when all are connected.
  Sockets(uint64_t id, uint64_t replicas, uint16_t port, Heard heard);
  ~Sockets();

  void send(uint64_t to, Packet packet);
  // Calls `heard` for what came, and `woken` when the descriptor has been written to.
  void wait(int timeoutMs);
  int wakeFd() const { return wake_; }
  bool isLost(uint64_t id) const {
    const auto peer = peers_.find(id);
    return peer != peers_.end() && peer->second.fd < 0;
  }
  std::function<void()> woken = [] {};

 private:
  struct Peer {
    uint64_t id = 0;
    int fd = -1;
    std::deque<Packet> out;
    size_t sent = 0;  // of the first one
    std::vector<uint8_t> staged;
    size_t stagedEnd = 0;
    std::shared_ptr<uint8_t> large;
    size_t largeBytes = 0;
    size_t largeEnd = 0;
    bool waits = false;
  };
  void dial(uint64_t id, uint16_t port);
  void add(uint64_t id, int fd);
  void write(Peer& peer);
  void read(Peer& peer);
  void take(Peer& peer);

  const Heard heard_;
  const uint64_t id_;
  int epoll_ = -1;
  int wake_ = -1;
  std::map<uint64_t, Peer> peers_;
};

}  // namespace quorum
