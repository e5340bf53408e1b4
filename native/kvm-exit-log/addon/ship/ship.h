// SPDX-License-Identifier: Apache-2.0
// Steps 2 to 4 and the deciding half of 8: OUT is drained and sealed when the policy's
// numbers say so; each batch goes, as the same bytes, to the backups and to our own
// segment file, and enough of them must have it before the gate lets its outputs leave.
//
// A backup that joins a running VM gets first what was sealed before, from our own
// files.  While the gate is detached a peer never holds up sealing: what its queue has
// no room for stays in the files until it has.
//
// Nothing here knows a file, a socket or a clock: `next` says what is to be done, its
// caller (the courier, a simulation) does it and says so.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bits/clock.h"
#include "bits/events.h"
#include "bits/facts.h"
#include "ring/bound.h"
#include "ring/seal.h"
#include "ship/awaited.h"
#include "ship/gate.h"
#include "ship/peer.h"
#include "ship/states.h"
#include "ship/stops.h"
#include "ship/transfers.h"
#include "store/log.h"

namespace exitlog {

// When to seal, and what the vCPU waits for: src/epochs/ decides.
struct SealNumbers {
  uint64_t batchNs;         // inputs and console bytes wait at most so long
  uint64_t recordsMax;      // so many seal at once
  uint64_t horizonBusyNs;   // spacing of batches that only move the horizon; 0: none
  uint64_t horizonIdleNs;   // the same while the guest idles; also how often to look
  uint64_t busyInstructions;  // since the last seal: counts as busy
  uint64_t stopInstructions;  // then the guest waits for an ack of its log; 0: never
  bool atCuts;  // a batch ends where an epoch does, and its state goes before it
};

struct ShipOptions {
  uint64_t vmIdLo;
  uint64_t vmIdHi;
  uint32_t term;
  uint64_t sequence;  // of the next batch
  uint64_t prevChecksum;
  uint32_t acksNeeded;  // an output leaves when so many backups hold its log; 0: a recorder's
  bool durable;
  SealNumbers numbers;
  uint64_t dataBytesMax = kBatchDataBytesMax;  // of a batch with more than one record
  void continues(const LogEnd& end) {
    sequence = end.sequence;
    prevChecksum = end.checksum;
  }
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
  Shipper(const Shm& shm, Sealer& sealer, VcpuBound& bound, const Clock& clock, Events& events,
          const ShipOptions& options, std::unique_ptr<Log> log);

  struct Step {
    enum class Kind {
      rest,   // nothing is due before `lookAtNs`, CLOCK_MONOTONIC, or a change
      write,  // `batch()` to the log, then `written`
      read,   // `reading()`, then `wasRead`
    };
    Kind kind;
    uint64_t lookAtNs;
  };
  // Seals and sends what is due; nothing before there is whom to send it to, or nobody
  // is needed.  Throws PeerError: what the peer needs is not there.
  Step next();

  struct Batch {
    const uint8_t* bytes;
    uint64_t count;
  };
  Batch batch() const { return Batch{frame_.data(), unwritten_}; }
  // It is in the log; or, not null, it could not be written.
  void written(const WriteFault* fault);

  struct Read {
    std::shared_ptr<Backlog> backlog;
    uint64_t sequence;
    uint64_t end;
  };
  Read reading() const { return Read{reader_->backlog, reader_->nextSend, log->writtenEnd}; }
  // Throws PeerError: `why` it cannot be read, if it cannot. The peer may have changed.
  void wasRead(const Backlog& backlog, bool isRead, const Backlog::Piece& piece,
               const std::string& why);

  // Batches go there until it leaves; `from` null: those sealed from now on. Throws
  // RingError or RangeFault where the peer cannot get what it needs; nothing has
  // changed then. @returns it, valid until the next one arrives
  Peer* peerArrived(Outlet* outlet, const ShipFrom* from);
  // An ack frame of that peer. Throws PeerError.
  void ackArrived(Peer& peer, const uint8_t* bytes, uint64_t count);

  // Those behind that peer keep the log for all, ours too, and have it before this sequence.
  void agreedBefore(Peer& peer, uint64_t end);

  void flush() { flushing_ = true; }
  void stop() { stopped_ = true; }

  // What is sealed from now on is of this term, and so must acks be.
  void detach(uint32_t term);
  // Throws RingError where outputs could never leave any more.
  void protect();

  Gate gate;
  std::unique_ptr<Log> log;
  States states;
  bool progressed = false;  // an ack came since JavaScript was told last

  // What status shows; of the peers, the first.
  void tell(Facts& facts) const;
  uint64_t prevChecksum() const { return options_.prevChecksum; }
  bool allAcked() const { return !flushing_ && gate.coveredEnd() == options_.sequence; }
  // One has not got all that is sealed: the rest comes from the files.
  bool catchingUp() const;
  bool isWriting() const { return unwritten_ > 0; }
  // Since when, CLOCK_MONOTONIC, an output or an epoch waits for its next ack; 0: none does.
  uint64_t waitsForAckSinceNs() const {
    return gate.detached() ? 0 : awaited_.sinceNs(gate.coveredEnd());
  }
  // What to be woken for while nothing is due (enum exitlog_sleeping).
  uint32_t sleepFor() const {
    if (stops_.isSet()) return EXITLOG_SLEEPS;  // to get there is no output
    return consoleWaits_ ? EXITLOG_SLEEPS_PACKETS : EXITLOG_SLEEPS_OUTPUTS;
  }
  // That QEMU has put there without telling, between our last look and `mode`.
  bool somethingUrgent(uint32_t mode);

 private:
  bool mayBegin() const {
    return !peers_.empty() || options_.acksNeeded == 0 || gate.detached();
  }
  Step rest(uint64_t lookAtNs);
  uint64_t dueAtNs(uint64_t now);
  uint64_t stopDueAtNs(uint64_t now);
  Outlet* follower() const;
  bool cutsNow() const;
  void goOn();
  void cover();
  bool sealBatch();
  void sendBatch();
  Peer* lacking() const;
  bool mustWait();
  bool mayWrite();
  void afterSync();
  void logFault();
  const Shm& shm_;
  Sealer& sealer_;
  const Clock& clock_;
  Events& events_;
  ShipOptions options_;
  std::vector<uint8_t> frame_;
  uint64_t frameBytes_ = 0;
  uint32_t sealedTerm_ = 0;
  uint64_t unwritten_ = 0;  // bytes of frame_ that our log does not have yet
  LogPlace writesAt_{};
  const Peer* reader_ = nullptr;  // of the step that was given last
  bool flushing_ = false;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Peer>> peers_;
  bool waits_ = false;  // sealing, for peers that read too slowly
  bool hasRead_ = false;    // since the last rest
  bool hasSealed_ = false;
  bool consoleWaits_ = false;
  bool broken_ = false;
  Stops stops_;
  Transfers transfers_;
  uint64_t lookedNs_;
  uint64_t sealedNs_;
  uint64_t bytes_ = 0;
  uint64_t records_ = 0;
  Awaited awaited_;
  Position horizon_;
};

}  // namespace exitlog
