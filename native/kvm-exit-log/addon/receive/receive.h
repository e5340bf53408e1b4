// SPDX-License-Identifier: Apache-2.0
// Steps 5 and 6: verify a batch, store it, acknowledge it, put it into the replay ring.
//
// An ack is a promise that this side holds the log: it goes out only after the write to
// the segment returned (and, with durability "disk", was fdatasynced).  One ack for
// all that came in one read.
//
// Nothing here knows a file, a socket or a clock: `next` says what is to be done, its
// caller (the courier, a simulation) does it and says so.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "bits/clock.h"
#include "bits/events.h"
#include "bits/facts.h"
#include "image/image.h"
#include "link/outlet.h"
#include "receive/follower.h"
#include "ring/fill.h"
#include "store/log.h"

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
  std::shared_ptr<Image> image;  // null: a QEMU executes the log
};

class Receiver {
 public:
  // Throws RingError if the follower does not start there.
  Receiver(std::unique_ptr<Follower> follower, const Clock& clock, Events& events,
           const ReceiveOptions& options, std::unique_ptr<Log> log);

  // A batch frame, valid until the round is done. Throws PeerError for one that does not
  // come next.
  void take(const uint8_t* frame, uint64_t bytes);
  // A STATE frame. Throws PeerError for one that its follower does not take.
  void takeState(const uint8_t* frame, uint64_t bytes);

  enum class Step {
    done,   // what was taken since the last `done` is stored, acknowledged and filled
    write,  // `batches()` to the log, then `written`
    prepare,  // `prepare`, then `prepared`
    wait,   // for the log's next file or a sync: to be called again, and nothing taken before
  };
  Step next(Outlet* outlet);
  struct Batches {
    const uint8_t* bytes;
    uint64_t count;
  };
  Batches batches() const { return Batches{round_[roundStored_].bytes, writing_}; }
  // They are in the log; or, not null, they could not be written.
  void written(const WriteFault* fault);
  // The follower's. False: it could not.
  bool prepare(WriteFault& fault);
  void prepared(const WriteFault* fault);

  // Acknowledges what was synced meanwhile, and fills what did not fit.
  // @returns when to look again, CLOCK_MONOTONIC ns
  uint64_t pump(Outlet* outlet);

  // No ack leaves any more: this side takes over, or gives up. What is here is still
  // replayed.
  void close() { closed_ = true; }
  // The log comes over one connection: a later one is of something else.
  void peerArrived() {
    closed_ = closed_ || hadPeer_;
    hadPeer_ = true;
  }

  // The log of this side continues: where, and the log itself. Nothing is received any more.
  // `end` throws RingError while something that came is not stored and in the replay ring.
  LogEnd end() const;
  std::unique_ptr<Log> handOver();

  // Null: handed over.
  std::unique_ptr<Log> log;

  // It takes nothing more before this round is done.
  bool isFull() const { return !round_.empty() && options_.image != nullptr; }
  // What it took is still to be stored.
  bool isStoring() const { return !round_.empty() && !pressed_; }
  bool mayRead() const { return round_.empty() && !pressed_; }
  bool pressed() const { return pressed_ || isSyncing_; }
  // What status shows.
  void tell(Facts& facts) const;

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
  static Mark endOf(const BatchView& batch);
  void hold(const Batch& batch);
  void tellConsole(const BatchView& batch);
  void takeHeld();
  void verify(const BatchView& batch) const;
  void prepareWithLog();
  bool waitsForSync();
  void takeSynced();
  void finishRound(Outlet* outlet);
  void sendAck(Outlet* outlet);
  void writeAck(Outlet* outlet);
  uint64_t tellProgress(Outlet* outlet);
  bool fillOrQueue(const Batch& batch);
  void giveUp(int error, const std::string& what);
  void fail(int error, const std::string& what);
  void logFault();
  const std::unique_ptr<Follower> follower_;
  const Clock& clock_;
  Events& events_;
  const ReceiveOptions options_;
  Continuity received_;
  Mark last_;    // of what came
  LogEnd whole_; // of what counts of it: what came after waits for the rest of its epoch
  std::vector<std::vector<uint8_t>> held_;
  uint64_t heldBytes_ = 0;
  std::vector<std::vector<uint8_t>> roundHeld_;  // those that round_ has
  Mark stored_;
  std::deque<Mark> unsynced_;
  uint64_t ackedEnd_;
  uint64_t toldIcount_ = 0;  // as the last ack said
  uint64_t toldAtNs_ = 0;
  std::vector<Batch> round_;
  size_t roundStored_ = 0;   // of round_
  size_t writingCount_ = 0;  // the next of them, which lie one behind the other
  uint64_t writing_ = 0;     // and their bytes
  std::deque<std::vector<uint8_t>> queue_;
  uint64_t queuedBytes_ = 0;
  bool pressed_ = false;
  bool closed_ = false;
  bool isPrepared_ = false;  // round_ is, or will be before the log is synced
  bool isSyncing_ = false;   // round_ waits for that
  bool gaveUp_ = false;      // what the follower has is less than what came
  bool hadPeer_ = false;
  uint64_t bytes_ = 0;
};

}  // namespace exitlog
