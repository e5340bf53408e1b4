// SPDX-License-Identifier: Apache-2.0
// One backup, as the side that ships sees it: what it was sent, what it lacks, what it has.
#pragma once

#include <cstdint>
#include <memory>

#include "bits/layout.h"
#include "link/outlet.h"
#include "store/log.h"

namespace exitlog {

struct Peer {
  Peer(Outlet* to, uint64_t first) : outlet(to), nextSend(first), ackedEnd(first) {}

  // Null: it has left. What it has acknowledged counts until another one comes.
  Outlet* outlet;
  uint64_t nextSend;  // everything before it was sent
  uint64_t ackedEnd;  // everything before it is acknowledged
  // Where nextSend is read; null while it is in no file, or nothing is to be read.
  // Shared with a read that goes on while the peer changes.
  std::shared_ptr<Backlog> backlog;
  bool pressed = false;  // it reads too slowly
  Position executed;
  uint64_t inPending = 0;

  bool lacksBefore(uint64_t end) const { return outlet != nullptr && nextSend != end; }

  void leave() {
    outlet = nullptr;
    backlog.reset();
  }
  void send(const uint8_t* bytes, uint64_t count, uint64_t end) {
    outlet->send(bytes, count);
    nextSend = end;
  }
  // Above, what is sealed stays in the files until it has taken most of what is queued.
  bool lookPressed() {
    constexpr size_t kQueueBytesHigh = 4u << 20;
    constexpr size_t kQueueBytesLow = 1u << 20;
    const size_t queued = outlet == nullptr ? 0 : outlet->queuedBytes();
    pressed = queued > (pressed ? kQueueBytesLow : kQueueBytesHigh);
    return pressed;
  }
};

}  // namespace exitlog
