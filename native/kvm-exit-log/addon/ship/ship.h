// SPDX-License-Identifier: Apache-2.0
// Steps 2 to 4 and the deciding half of 8: OUT is drained and sealed when the policy's
// numbers say so; each batch goes, as the same bytes, to the backup and to our own
// segment file, and both must have it before the gate lets its outputs leave.
//
// A backup that joins a running VM gets first what was sealed before, from our own
// files (backlog.h).  While the gate is detached a peer never holds up sealing: what its
// queue has no room for stays in the files until it has.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "bits/ack.h"
#include "bits/events.h"
#include "link/link.h"
#include "ring/bound.h"
#include "ring/seal.h"
#include "ship/gate.h"
#include "ship/stops.h"
#include "store/backlog.h"
#include "store/segment.h"

namespace exitlog {

// When to seal, and what the vCPU waits for: src/epochs/ decides.
struct SealNumbers {
  uint64_t batchNs;         // inputs and console bytes wait at most so long
  uint64_t recordsMax;      // so many seal at once
  uint64_t horizonBusyNs;   // spacing of batches that only move the horizon; 0: none
  uint64_t horizonIdleNs;   // the same while the guest idles; also how often to look
  uint64_t busyInstructions;  // since the last seal: counts as busy
  uint64_t stopInstructions;  // then the guest waits for an ack of its log; 0: never
};

struct ShipOptions {
  uint64_t vmIdLo;
  uint64_t vmIdHi;
  uint32_t term;
  uint64_t sequence;
  uint64_t prevChecksum;
  bool needsAck;
  bool durable;
  SealNumbers numbers;
};

// Where a backup joins: the first batch that it gets, and the number of the segment
// file that has it, or of one before.
struct ShipFrom {
  uint64_t sequence;
  uint64_t segment;
};

constexpr uint64_t kNever = UINT64_MAX;

class Shipper {
 public:
  // `log`: null where there can be none.
  Shipper(const Shm& shm, Sealer& sealer, VcpuBound& bound, Events& events,
          const ShipOptions& options, std::unique_ptr<Segment> log);

  // Seals, sends, writes what is due; nothing before there is whom to send it to, or
  // nobody is needed.  The lock is given up around reads and writes of files: the peer
  // may be another one afterwards.  Throws PeerError: what the peer needs is not there.
  // @returns when to look again, CLOCK_MONOTONIC ns
  uint64_t pump(std::unique_lock<std::mutex>& lock, Syncer& syncer);
  // An ack frame from the backup. Throws PeerError.
  void ackArrived(const Link::Frame& frame);

  void flush() { flushing_ = true; }
  void stop() { stopped_ = true; }

  // Batches go there until `peerLeft`; `from` null: those sealed from now on. Throws
  // RingError or RangeFault where the peer cannot get what it needs; nothing has
  // changed then.
  void peerArrived(Link* link, const ShipFrom* from);
  void peerLeft();

  // What is sealed from now on is of this term, and so must acks be.
  void detach(uint32_t term);
  // Throws RingError where outputs could never leave any more.
  void protect();

  Gate gate;
  std::unique_ptr<Segment> log;
  bool progressed = false;  // an ack came since JavaScript was told last

  // For status.
  uint64_t sequence() const { return options_.sequence; }
  uint64_t bytes() const { return bytes_; }
  uint64_t records() const { return records_; }
  Position horizon() const { return horizon_; }
  Position executed() const { return executed_; }
  uint64_t backupPending() const { return backupPending_; }
  bool allAcked() const { return !flushing_ && gate.ackedEnd() == options_.sequence; }
  // What the peer gets next.
  uint64_t nextSend() const { return link_ == nullptr ? options_.sequence : nextSend_; }
  // It has not got all that is sealed: the rest comes from the files.
  bool catchingUp() const { return link_ != nullptr && nextSend_ != options_.sequence; }
  bool isWriting() const { return unwritten_ > 0; }
  // What to be woken for while nothing is due (enum exitlog_sleeping).
  uint32_t sleepFor() const {
    if (stops_.isSet()) return EXITLOG_SLEEPS;  // to get there is no output
    return consoleWaits_ ? EXITLOG_SLEEPS_PACKETS : EXITLOG_SLEEPS_OUTPUTS;
  }
  // That QEMU has put there without telling, between our last look and `mode`.
  bool somethingUrgent(uint32_t mode);

 private:
  bool mayBegin() const { return hadPeer_ || !options_.needsAck || gate.detached(); }
  uint64_t dueAtNs(uint64_t now);
  uint64_t stopDueAtNs(uint64_t now);
  void goOn();
  bool sealBatch();
  void sendBatch();
  bool catchUp(std::unique_lock<std::mutex>& lock);
  [[noreturn]] void cannotCatchUp(const std::string& why) const;
  bool pressed();
  bool mustWait();
  bool writeBatch(std::unique_lock<std::mutex>& lock, Syncer& syncer);
  void afterSync();
  void logFault();
  const Shm& shm_;
  Sealer& sealer_;
  Events& events_;
  ShipOptions options_;
  std::vector<uint8_t> frame_;
  uint64_t frameBytes_ = 0;
  uint64_t unwritten_ = 0;  // bytes of frame_ that our log does not have yet
  bool flushing_ = false;
  bool hadPeer_ = false;
  bool stopped_ = false;
  Link* link_ = nullptr;
  uint64_t nextSend_;
  // Where nextSend_ is read; null while it is in no file, or nothing is to be read.
  // Shared with a read that goes on while the peer changes.
  std::shared_ptr<Backlog> backlog_;
  bool pressed_ = false;  // the backup reads too slowly
  bool waits_ = false;    // and sealing waits for it
  bool consoleWaits_ = false;
  bool broken_ = false;
  Stops stops_;
  uint64_t lookedNs_;
  uint64_t sealedNs_;
  uint64_t bytes_ = 0;
  uint64_t records_ = 0;
  Position horizon_;
  Position executed_;
  uint64_t backupPending_ = 0;
};

}  // namespace exitlog
