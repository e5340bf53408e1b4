// SPDX-License-Identifier: Apache-2.0
// Steps 5 and 6: verify a batch, store it, acknowledge it, put it into the replay ring.
//
// An ack is a promise that this side holds the log: it goes out only after the write to
// the segment returned (and, with durability "disk", was fdatasynced).  One ack for
// all that came in one read.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "bits/ack.h"
#include "bits/events.h"
#include "link/link.h"
#include "ring/fill.h"
#include "store/segment.h"

namespace exitlog {

// Where the log begins that comes: at power-on, or, for a backup that joins a running
// VM, with the batch that has its checkpoint.
struct ReceiveStart {
  uint64_t sequence = 0;
  uint64_t recordBase = 0;
  uint64_t dataBase = 0;
  uint64_t prevChecksum = 0;
};

struct ReceiveOptions {
  uint64_t vmIdLo;
  uint64_t vmIdHi;
  uint32_t term;
  bool durable;
  uint64_t queueBytesHigh;  // above, the peer has to wait
  uint64_t queueBytesLow;
  ReceiveStart start;  // the replay ring is there already
};

class Receiver {
 public:
  // Throws RingError if the replay ring starts elsewhere.
  Receiver(const Shm& shm, Filler& filler, Events& events, const ReceiveOptions& options,
           std::unique_ptr<Segment> log);

  // A batch frame, valid until `finishRound` is done. Throws PeerError for one that
  // does not come next.
  void take(const Link::Frame& frame);
  // Stores, acknowledges, fills what was taken since the last read. The lock is given
  // up around writes. False: to be called again, and nothing read before.
  bool finishRound(std::unique_lock<std::mutex>& lock, Syncer& syncer, Link* link);
  // Acknowledges what was synced meanwhile, and fills what did not fit.
  // @returns when to look again, CLOCK_MONOTONIC ns
  uint64_t pump(Link* link);

  // No ack leaves any more: this side takes over, or gives up. What is here is still
  // replayed.
  void close() { closed_ = true; }
  // The log comes over one connection: a later one is of something else.
  void peerArrived() {
    closed_ = closed_ || hadPeer_;
    hadPeer_ = true;
  }

  std::unique_ptr<Segment> log;

  bool mayRead() const { return round_.empty() && !pressed_; }
  bool pressed() const { return pressed_; }
  // The replay ring has got everything that counts.
  bool empty() const { return round_.empty() && queue_.empty(); }
  uint64_t bytes() const { return bytes_; }
  // Sequence of the last, plus 1; 0: none.
  uint64_t lastEnd() const { return isNone(last_) ? 0 : last_.end; }
  uint64_t storedEnd() const { return isNone(stored_) ? 0 : stored_.end; }

 private:
  struct Batch {
    BatchView view;
    const uint8_t* bytes;
    size_t length;
  };
  // What an ack says of a batch, and the next one is compared with.
  struct Mark {
    uint64_t end = 0;
    uint64_t recordEnd = 0;
    uint64_t dataEnd = 0;
    uint64_t checksum = 0;
  };
  bool isNone(const Mark& mark) const { return mark.end == options_.start.sequence; }
  void verify(const BatchView& batch) const;
  void sendAck(Link* link);
  void writeAck(Link* link);
  uint64_t tellProgress(Link* link);
  void fillOrQueue(const Batch& batch);
  void logFault();
  const Shm& shm_;
  Filler& filler_;
  Events& events_;
  const ReceiveOptions options_;
  Continuity received_;
  Mark last_;
  Mark stored_;
  std::deque<Mark> unsynced_;
  uint64_t ackedEnd_;
  uint64_t toldIcount_ = 0;  // as the last ack said
  uint64_t toldAtNs_ = 0;
  uint64_t horizonIcount_ = 0;  // of the last batch
  std::vector<Batch> round_;
  size_t roundStored_ = 0;  // of round_
  std::deque<std::vector<uint8_t>> queue_;
  uint64_t queuedBytes_ = 0;
  bool pressed_ = false;
  bool closed_ = false;
  bool hadPeer_ = false;
  uint64_t bytes_ = 0;
};

}  // namespace exitlog
