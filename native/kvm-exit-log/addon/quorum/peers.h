// SPDX-License-Identifier: Apache-2.0
// The links to the other replicas. One thread has them, its own (replica_host.h); what is
// connected, and to whom, is JavaScript's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/message.h"
#include "link/link.h"

namespace exitlog {

class Peers {
 public:
  struct Events {
    // A whole packet. What it throws as PeerError ends the link.
    std::function<void(uint64_t from, const quorum::Slice& packet)> heard;
    // The link is gone.
    std::function<void(uint64_t from, const std::string& code, const std::string& message)> lost;
  };
  explicit Peers(Events events) : events_(std::move(events)) {}

  // In place of an earlier one, whose end is not told.
  void add(uint64_t id, std::unique_ptr<Link> link);
  void drop(uint64_t id);
  bool has(uint64_t id) const { return peers_.count(id) > 0; }
  std::vector<uint64_t> ids() const;

  // Loses it where there is no link, or one that has not taken much for long.
  void send(uint64_t to, const quorum::Packet& packet);

  // What is to be waited for: a descriptor and poll's events of each.
  struct Wanted {
    uint64_t id;
    int fd;
    short events;
  };
  std::vector<Wanted> wanted() const;
  // Packets that were read before, or left by the event loop.
  bool hasUnread() const;
  // After a wait: reads, tells and writes. `readable`: those whose socket has something.
  void serve(const std::vector<uint64_t>& readable);

 private:
  struct Peer {
    std::unique_ptr<Link> link;
    std::shared_ptr<uint8_t> packet;  // that has not come whole
    size_t bytes = 0;                 // of it, all
    size_t have = 0;
    std::vector<uint8_t> head;  // what came of one whose length is not known yet
  };
  void read(uint64_t id, bool isReadable);
  void take(uint64_t id, Peer& peer, const uint8_t* bytes, size_t count);
  void lose(uint64_t id, const char* code, const std::string& message);

  const Events events_;
  std::map<uint64_t, Peer> peers_;
  std::vector<uint8_t> staged_;
};

}  // namespace exitlog
