// SPDX-License-Identifier: Apache-2.0
#include "ship/ship.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "bits/clock.h"
#include "bits/frame.h"
#include "bits/peer_error.h"

namespace exitlog {

namespace {

// Queued for a backup that reads too slowly: above, records stay in the ring, and QEMU
// waits when that is full.
constexpr size_t kQueueBytesHigh = 4u << 20;
constexpr size_t kQueueBytesLow = 1u << 20;
// Where QEMU's ring says that there is something and nothing can be sealed.
constexpr uint64_t kRetryNs = 1000000;

}  // namespace

Shipper::Shipper(const Shm& shm, Sealer& sealer, VcpuBound& bound, Events& events,
                 const ShipOptions& options, std::unique_ptr<Segment> segment)
    : gate(shm, events, options.sequence, options.needsAck), log(std::move(segment)), shm_(shm),
      sealer_(sealer), events_(events), options_(options), frame_(kBatchFrameBytesMax),
      nextSend_(options.sequence), stops_(bound, options.numbers.stopInstructions),
      lookedNs_(monotonicNs()), sealedNs_(lookedNs_) {
  if (log != nullptr) log->writtenEnd = options.sequence;
}

void Shipper::peerArrived(Link* link, const ShipFrom* from) {
  const uint64_t first = from == nullptr ? options_.sequence : from->sequence;
  std::shared_ptr<Backlog> backlog;
  if (from != nullptr) {
    if (log == nullptr || log->faulty) {
      throw RingError("ERR_RING_STATE", "there is no whole log that a backup could catch up from");
    }
    if (first > options_.sequence) {
      throw RangeFault(format("the log cannot be sent from batch %" PRIu64 " on: the next batch is %"
                              PRIu64, first, options_.sequence));
    }
    if (first < options_.sequence) {
      backlog = std::make_shared<Backlog>(log->dir(), from->segment, 0);
    }
  }
  gate.peerArrived(first);
  hadPeer_ = true;
  link_ = link;
  nextSend_ = first;
  backlog_ = backlog;
  pressed_ = false;
  executed_ = Position{};
  backupPending_ = 0;
}

void Shipper::peerLeft() {
  link_ = nullptr;
  backlog_.reset();
}

void Shipper::detach(uint32_t term) {
  if (term < options_.term) {
    throw RangeFault(format("term %u is over, this is term %u", term, options_.term));
  }
  options_.term = term;
  gate.detach();
}

void Shipper::protect() {
  if (!options_.needsAck || log == nullptr) {
    throw RingError("ERR_RING_STATE", options_.needsAck
                                          ? "without a log no output could leave any more"
                                          : "a recorder's outputs wait for nobody");
  }
  gate.protect(options_.sequence);
}

// 0: now.
uint64_t Shipper::dueAtNs(uint64_t now) {
  const SealNumbers& n = options_.numbers;
  const uint64_t records = sealer_.pending();
  const Sealer::Waiting& waiting = sealer_.waiting();
  consoleWaits_ = waiting.outputs > waiting.packets;
  if (stops_.isSet()) return stopDueAtNs(now);
  if (flushing_ || waiting.packets > 0 || records >= n.recordsMax) return 0;
  // Nobody tells when inputs come: at the earliest after we looked last.
  if (records > 0) return lookedNs_ + n.batchNs;
  lookedNs_ = now;
  if (n.horizonBusyNs == 0 || !sealer_.horizonMoved()) return now + n.horizonIdleNs;
  const uint64_t since = loadRelaxed(shm_.header()->icount) - sealer_.horizonSealed().icount;
  if (since >= n.busyInstructions) return sealedNs_ + n.horizonBusyNs;
  return sealedNs_ + n.horizonIdleNs;
}

// On the way to a stop a batch is sealed there, or where the guest waits before that: the
// backup must get there for the lag bound to rise. A guest that idles does not get there:
// what waits then is sealed after a while, as anywhere.
uint64_t Shipper::stopDueAtNs(uint64_t now) {
  const SealNumbers& n = options_.numbers;
  if (flushing_ || sealer_.pending() >= n.recordsMax) return 0;
  const uint64_t waitsAt = loadRelaxed(shm_.header()->icount_max);
  if (horizon_.icount < waitsAt && sealer_.horizonNow().icount >= waitsAt) return 0;
  if (sealer_.pending() > 0) return lookedNs_ + n.batchNs;
  lookedNs_ = now;
  return (sealer_.horizonMoved() ? sealedNs_ : now) + n.horizonIdleNs;
}

// From a stop the guest goes on when the backup holds the log up to it. Without a backup, and
// while one joins, there are none; with the link lost the guest waits where it is until the
// fence is won.
void Shipper::goOn() {
  if (gate.detached()) {
    stops_.clear();
  } else if (link_ != nullptr) {
    stops_.advance(loadRelaxed(shm_.header()->icount), horizon_.icount,
                   gate.ackedEnd() == options_.sequence);
  }
}

uint64_t Shipper::pump(std::unique_lock<std::mutex>& lock, Syncer& syncer) {
  afterSync();
  goOn();
  uint64_t lookAt = catchUp(lock) ? 0 : kNever;
  if (unwritten_ > 0 && !writeBatch(lock, syncer)) {
    gate.release();
    return lookAt;
  }
  while (!stopped_ && !broken_ && mayBegin()) {
    waits_ = mustWait();
    if (waits_) break;
    const uint64_t now = monotonicNs();
    const uint64_t due = dueAtNs(now);
    if (due > now) {
      lookAt = std::min(lookAt, due);
      break;
    }
    if (!sealBatch()) {
      lookAt = std::min(lookAt, now + kRetryNs);
      break;
    }
    lookedNs_ = sealedNs_ = now;
    sendBatch();
    if (!writeBatch(lock, syncer)) break;
    gate.release();
    // A guest that never lets us rest must not keep its backup from the log.
    if (catchingUp()) {
      lookAt = 0;
      break;
    }
  }
  gate.release();
  if (flushing_ && (stopped_ || broken_ || !mayBegin() || sealer_.pending() == 0) && unwritten_ == 0) {
    flushing_ = false;
    events_.push(EventKind::flushed);
  }
  return lookAt;
}

bool Shipper::somethingUrgent(uint32_t mode) {
  if (stopped_ || waits_ || broken_ || unwritten_ > 0 || !mayBegin()) return false;
  if (stops_.isSet()) return stopDueAtNs(monotonicNs()) == 0;
  const Sealer::Waiting& waiting = sealer_.waiting();
  return mode == EXITLOG_SLEEPS_PACKETS ? waiting.packets > 0 : waiting.outputs > 0;
}

bool Shipper::sealBatch() {
  SealHeader header{};
  header.vmIdLo = options_.vmIdLo;
  header.vmIdHi = options_.vmIdHi;
  header.term = options_.term;
  header.sequence = options_.sequence;
  header.sealedAtNs = realtimeNs();
  header.prevChecksum = options_.prevChecksum;
  try {
    frameBytes_ = sealer_.seal(frame_.data(), frame_.size(), header);
  } catch (const std::exception& error) {
    broken_ = true;
    events_.push(EventKind::broken, error.what(), "");
    return false;
  }
  if (frameBytes_ == 0) return false;
  const SealResult& sealed = sealer_.last();
  gate.add(Gate::Batch{options_.sequence, sealed.recordEnd, sealed.outputs, sealer_.takeConsole()});
  options_.sequence++;
  options_.prevChecksum = sealed.checksum;
  bytes_ += frameBytes_;
  records_ += sealed.records;
  horizon_ = sealed.horizon;
  return true;
}

__attribute__((noinline)) void Shipper::sendBatch() {
  unwritten_ = frameBytes_;
  if (link_ == nullptr || nextSend_ != options_.sequence - 1 || pressed_) return;
  link_->send(frame_.data(), frameBytes_);
  nextSend_ = options_.sequence;
  gate.sentBefore(nextSend_);
}

bool Shipper::pressed() {
  const size_t queued = link_ == nullptr ? 0 : link_->queuedBytes();
  pressed_ = pressed_ ? queued > kQueueBytesLow : queued > kQueueBytesHigh;
  return pressed_;
}

// Detached, nobody waits for the peer: it gets from the files what it could not take.
bool Shipper::mustWait() {
  const bool isSlow = pressed();
  return !gate.detached() && (isSlow || catchingUp());
}

// The next of what the peer lacks and the files have, as its queue has room.
// @returns whether to go on at once
bool Shipper::catchUp(std::unique_lock<std::mutex>& lock) {
  if (!catchingUp()) return false;
  const uint64_t end = log == nullptr ? 0 : log->writtenEnd;
  if (nextSend_ >= end) {
    if (log == nullptr) cannotCatchUp("there is none");
    if (log->faulty) cannotCatchUp("it could not be written: " + log->fault.what);
    return false;  // it waits for the next file
  }
  if (pressed()) return false;
  const std::shared_ptr<Backlog> backlog = backlog_;
  const uint64_t next = nextSend_;
  Backlog::Piece piece;
  std::string why;
  lock.unlock();
  const bool isRead = backlog->read(next, end, piece, why);
  lock.lock();
  if (backlog != backlog_) return true;  // this peer has left
  if (!isRead) cannotCatchUp(why);
  if (piece.count > 0) {
    link_->send(piece.bytes, piece.count);
    nextSend_ = piece.end;
    gate.sentBefore(nextSend_);
    if (!catchingUp()) backlog_.reset();
  }
  return true;
}

void Shipper::cannotCatchUp(const std::string& why) const {
  throw PeerError(kPeerLost, format("the log that the backup needs from batch %" PRIu64
                                    " on cannot be read: ", nextSend_) + why);
}

// @returns false if it must wait: for the next file
bool Shipper::writeBatch(std::unique_lock<std::mutex>& lock, Syncer& syncer) {
  const uint64_t count = unwritten_;
  if (log == nullptr || log->faulty) {
    logFault();
    unwritten_ = 0;
    return true;
  }
  if (log->rolling()) return false;
  if (log->needsRoll(count)) {
    BatchHead head;
    memcpy(&head, frame_.data() + sizeof(FramePrefix), sizeof head);
    log->rollSequence = head.header.sequence;
    log->rollTerm = head.header.term;
    log->wantRoll = true;
    syncer.wake();
    return false;
  }
  Segment& segment = *log;
  const uint64_t at = segment.offset();
  WriteFault fault{};
  lock.unlock();
  const bool wrote = segment.append(frame_.data(), count, fault);
  lock.lock();
  unwritten_ = 0;
  if (!wrote) {
    segment.faulty = true;
    segment.fault = fault;
    logFault();
    return true;
  }
  segment.bytesWritten += count;
  segment.writtenEnd = options_.sequence;
  // The first that the peer could not take: the others are behind it.
  if (link_ != nullptr && nextSend_ == options_.sequence - 1 && backlog_ == nullptr) {
    backlog_ = std::make_shared<Backlog>(segment.dir(), segment.index(), at);
  }
  if (!options_.durable) {
    gate.loggedBefore(options_.sequence);
  } else {
    segment.wantSync = true;
    syncer.wake();
  }
  return true;
}

void Shipper::afterSync() {
  if (log == nullptr) return;
  if (log->faulty) logFault();
  else if (options_.durable) gate.loggedBefore(log->syncedEnd);
}

void Shipper::logFault() {
  if (log == nullptr || log->faultTold) return;
  log->faultTold = true;
  // Never logged and ignored: while a backup counts on us, nothing leaves any more.
  gate.logFailed();
  const char* name = strerrorname_np(log->fault.error);
  events_.push(EventKind::logFailed, name == nullptr ? "EIO" : name, log->fault.what);
}

void Shipper::ackArrived(const Link::Frame& frame) {
  const AckBody ack = readAck(frame.bytes, frame.length);
  if ((ack.flags & kAckReady) != 0) return;
  if (ack.term != options_.term) {
    throw PeerError(kPeerProtocol, format("the backup acknowledged in term %u, this is term %u",
                                          ack.term, options_.term));
  }
  if (options_.durable && (ack.flags & kAckDurable) == 0) {
    throw PeerError(kPeerProtocol, "the ack is not durable, durability is \"disk\"");
  }
  gate.ack(ack.sequence, ack.recordEnd);
  const Position executed{ack.executedIcount, ack.executedVtimeNs};
  if (executed_ < executed) executed_ = executed;
  backupPending_ = ack.inPending;
  progressed = true;
}

}  // namespace exitlog
