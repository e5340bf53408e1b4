// SPDX-License-Identifier: Apache-2.0
#include "ship/ship.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <functional>

#include "bits/ack.h"
#include "bits/errors.h"
#include "bits/frame.h"
#include "bits/peer_error.h"

namespace exitlog {

namespace {

// Where QEMU's ring says that there is something and nothing can be sealed.
constexpr uint64_t kRetryNs = 1000000;

[[noreturn]] void cannotCatchUp(const Peer& peer, const std::string& why) {
  throw PeerError(kPeerLost, format("the log that the backup needs from batch %" PRIu64
                                    " on cannot be read: ", peer.nextSend) + why);
}

}  // namespace

Shipper::Shipper(const Shm& shm, Sealer& sealer, VcpuBound& bound, const Clock& clock,
                 Events& events, const ShipOptions& options, std::unique_ptr<Log> toLog)
    : gate(shm, events, options.sequence, options.acksNeeded > 0), log(std::move(toLog)), states(shm), shm_(shm),
      sealer_(sealer), clock_(clock), events_(events), options_(options),
      frame_(kBatchFrameBytesMax), stops_(bound, options.numbers.stopInstructions),
      lookedNs_(clock.monotonicNs()), sealedNs_(lookedNs_) {
  if (log != nullptr) log->writtenEnd = options.sequence;
}

Peer* Shipper::peerArrived(Outlet* outlet, const ShipFrom* from) {
  auto peer = std::make_unique<Peer>(outlet, from == nullptr ? options_.sequence : from->sequence);
  if (from != nullptr) {
    if (log == nullptr || log->faulty) {
      throw RingError("ERR_RING_STATE", "there is no whole log that a backup could catch up from");
    }
    if (from->sequence > options_.sequence) {
      throw RangeFault(format("the log cannot be sent from batch %" PRIu64 " on: the next batch is %"
                              PRIu64, from->sequence, options_.sequence));
    }
    if (from->sequence < options_.sequence) {
      peer->backlog = log->backlog(LogPlace{from->segment, 0});
    }
  }
  gate.checkCoverFrom(peer->nextSend);
  states.checkKept();
  const auto hasLeft = [](const std::unique_ptr<Peer>& one) { return one->outlet == nullptr; };
  peers_.erase(std::remove_if(peers_.begin(), peers_.end(), hasLeft), peers_.end());
  peers_.push_back(std::move(peer));
  transfers_.forget();
  cover();
  return peers_.back().get();
}

void Shipper::detach(uint32_t term) {
  if (term < options_.term) {
    throw RangeFault(format("term %u is over, this is term %u", term, options_.term));
  }
  options_.term = term;
  gate.detach();
  states.forget();
}

void Shipper::protect() {
  if (options_.acksNeeded == 0 || log == nullptr) {
    throw RingError("ERR_RING_STATE", options_.acksNeeded > 0
                                          ? "without a log no output could leave any more"
                                          : "a recorder's outputs wait for nobody");
  }
  gate.protect(options_.sequence);
  awaited_.moved(clock_.monotonicNs());
}

// The log is covered as far as the last of those who must have it has it.
void Shipper::cover() {
  const size_t needed = options_.acksNeeded;
  if (needed == 0 || peers_.size() < needed) return;
  if (peers_.size() == 1) return gate.coveredBefore(peers_.front()->ackedEnd);
  std::vector<uint64_t> ends;
  for (const auto& peer : peers_) ends.push_back(peer->ackedEnd);
  std::nth_element(ends.begin(), ends.begin() + static_cast<ptrdiff_t>(needed - 1), ends.end(),
                   std::greater<>());
  gate.coveredBefore(ends[needed - 1]);
}

// 0: now.
uint64_t Shipper::dueAtNs(uint64_t now) {
  const SealNumbers& n = options_.numbers;
  const uint64_t records = sealer_.pending();
  const Sealer::Waiting& waiting = sealer_.waiting();
  consoleWaits_ = waiting.outputs > waiting.packets;
  if (stops_.isSet()) return stopDueAtNs(now);
  // QEMU tells of a cut. An epoch too long for the ring goes out in several batches.
  if (cutsNow()) return flushing_ || waiting.cuts > 0 || sealer_.isHalfFull() ? 0 : kNever;
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

// From a stop the guest goes on when the backups hold the log up to it. Without a backup, and
// while one joins, there are none; with the link lost the guest waits where it is until the
// fence is won.
void Shipper::goOn() {
  if (gate.detached()) {
    stops_.clear();
  } else if (!peers_.empty() && peers_.front()->outlet != nullptr) {
    stops_.advance(loadRelaxed(shm_.header()->icount), horizon_.icount,
                   gate.coveredEnd() == options_.sequence);
  }
}

// A guest that never lets us rest must not keep a backup from the log, nor a backup that
// lacks much the others from theirs: between two rests, one of both.
Shipper::Step Shipper::next() {
  afterSync();
  goOn();
  reader_ = hasRead_ ? nullptr : lacking();
  if (reader_ != nullptr) {
    hasRead_ = true;
    return Step{Step::Kind::read, 0};
  }
  for (;;) {
    if (options_.numbers.atCuts && mayBegin()) states.pump(follower(), !catchingUp());
    if (unwritten_ > 0 && !mayWrite()) return rest(kNever);
    if (unwritten_ > 0) return Step{Step::Kind::write, 0};
    if (stopped_ || broken_ || !mayBegin()) return rest(kNever);
    if (hasSealed_ && catchingUp()) return rest(0);
    // The state of an epoch goes before its batch: one at a time.
    if (cutsNow() && catchingUp()) return rest(lacking() != nullptr ? 0 : kNever);
    waits_ = (cutsNow() && states.isBehind(follower())) || mustWait();
    if (waits_) return rest(kNever);
    const uint64_t now = clock_.monotonicNs();
    const uint64_t due = dueAtNs(now);
    if (due > now) return rest(due);
    if (!sealBatch()) return rest(now + kRetryNs);
    if (cutsNow() && sealer_.last().cut) {
      transfers_.begins(options_.sequence - 1, now);
      states.finish(follower());
    }
    if (!cutsNow() || sealer_.last().cut) {
      awaited_.sealed(options_.sequence, gate.coveredEnd(), now);
    }
    hasSealed_ = true;
    lookedNs_ = sealedNs_ = now;
    sendBatch();
  }
}

Shipper::Step Shipper::rest(uint64_t lookAtNs) {
  gate.release();
  const bool isOver = stopped_ || broken_ || !mayBegin() || sealer_.pending() == 0;
  if (flushing_ && isOver && unwritten_ == 0) {
    flushing_ = false;
    events_.push(EventKind::flushed);
  }
  const Step step{Step::Kind::rest, hasRead_ ? 0 : lookAtNs};
  hasRead_ = hasSealed_ = false;
  return step;
}

bool Shipper::somethingUrgent(uint32_t mode) {
  if (stopped_ || waits_ || broken_ || unwritten_ > 0 || !mayBegin()) return false;
  if (stops_.isSet()) return stopDueAtNs(clock_.monotonicNs()) == 0;
  const Sealer::Waiting& waiting = sealer_.waiting();
  if (cutsNow()) return waiting.cuts > 0 || states.isFilling() || sealer_.isHalfFull();
  return mode == EXITLOG_SLEEPS_PACKETS ? waiting.packets > 0 : waiting.outputs > 0;
}

bool Shipper::sealBatch() {
  SealHeader header{};
  header.vmIdLo = options_.vmIdLo;
  header.vmIdHi = options_.vmIdHi;
  header.term = options_.term;
  header.sequence = options_.sequence;
  header.sealedAtNs = clock_.realtimeNs();
  header.prevChecksum = options_.prevChecksum;
  header.toCut = cutsNow();
  header.dataBytesMax = options_.dataBytesMax;
  try {
    frameBytes_ = sealer_.seal(frame_.data(), frame_.size(), header);
  } catch (const std::exception& error) {
    broken_ = true;
    events_.push(EventKind::broken, error.what(), "");
    return false;
  }
  if (frameBytes_ == 0) return false;
  const SealResult& sealed = sealer_.last();
  sealedTerm_ = options_.term;
  gate.add(Gate::Batch{options_.sequence, sealed.recordEnd, sealed.checksum, sealed.outputs,
                       sealer_.takePrinted(EXITLOG_CONSOLE),
                       sealer_.takePrinted(EXITLOG_CONSOLE_GUARD)});
  options_.sequence++;
  options_.prevChecksum = sealed.checksum;
  bytes_ += frameBytes_;
  records_ += sealed.records;
  horizon_ = sealed.horizon;
  return true;
}

__attribute__((noinline)) void Shipper::sendBatch() {
  unwritten_ = frameBytes_;
  for (const auto& peer : peers_) {
    const bool isNext = peer->outlet != nullptr && peer->nextSend == options_.sequence - 1;
    if (isNext && !peer->pressed) peer->send(frame_.data(), frameBytes_, options_.sequence);
  }
}

// The one that follows by state; there is one at most.
Outlet* Shipper::follower() const {
  for (const auto& peer : peers_) {
    if (peer->outlet != nullptr) return peer->outlet;
  }
  return nullptr;
}

bool Shipper::cutsNow() const {
  return options_.numbers.atCuts && (!gate.detached() || follower() != nullptr);
}

bool Shipper::catchingUp() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [this](const auto& peer) { return peer->lacksBefore(options_.sequence); });
}

// Detached, nobody waits for a peer: it gets from the files what it could not take.
bool Shipper::mustWait() {
  size_t slow = 0;
  size_t quick = 0;
  for (const auto& peer : peers_) {
    const bool isSlow = peer->lookPressed() || peer->lacksBefore(options_.sequence);
    if (isSlow) slow++;
    else if (peer->outlet != nullptr) quick++;
  }
  return !gate.detached() && slow > 0 && quick < options_.acksNeeded;
}

// Who is to get the next of what it lacks and the log has; its queue has room. Throws
// PeerError where the log will never have it.
Peer* Shipper::lacking() const {
  for (const auto& peer : peers_) {
    if (!peer->lacksBefore(options_.sequence)) continue;
    if (log == nullptr) cannotCatchUp(*peer, "there is none");
    // What is not written yet waits for the next file.
    const bool isThere = peer->nextSend < log->writtenEnd;
    if (!isThere && log->faulty) {
      cannotCatchUp(*peer, "it could not be written: " + log->fault.what);
    }
    if (isThere && !peer->lookPressed()) return peer.get();
  }
  return nullptr;
}

void Shipper::wasRead(const Backlog& backlog, bool isRead, const Backlog::Piece& piece,
                      const std::string& why) {
  for (const auto& peer : peers_) {
    if (peer->backlog.get() != &backlog) continue;
    if (!isRead) cannotCatchUp(*peer, why);
    if (piece.count == 0) return;
    peer->send(piece.bytes, piece.count, piece.end);
    if (!peer->lacksBefore(options_.sequence)) peer->backlog.reset();
  }
}

// @returns false if it must wait: for the next file. Without a log nothing is unwritten.
bool Shipper::mayWrite() {
  if (log == nullptr || log->faulty) {
    logFault();
    unwritten_ = 0;
    return true;
  }
  if (log->rolling()) return false;
  if (log->needsRoll(unwritten_)) {
    log->askRoll(options_.sequence - 1, sealedTerm_);
    return false;
  }
  writesAt_ = log->place();
  return true;
}

void Shipper::written(const WriteFault* fault) {
  const uint64_t count = unwritten_;
  unwritten_ = 0;
  if (fault != nullptr) {
    log->fail(*fault);
    logFault();
    return;
  }
  log->bytesWritten += count;
  log->writtenEnd = options_.sequence;
  for (const auto& peer : peers_) {
    // The first that it could not take: the others are behind it.
    const bool isFirst = peer->outlet != nullptr && peer->nextSend == options_.sequence - 1;
    if (isFirst && peer->backlog == nullptr) peer->backlog = log->backlog(writesAt_);
  }
  if (options_.durable) log->askSync();
  else gate.loggedBefore(options_.sequence);
  gate.release();
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

void Shipper::ackArrived(Peer& peer, const uint8_t* bytes, uint64_t count) {
  const AckBody ack = readAck(bytes, count);
  if ((ack.flags & kAckReady) != 0) return;
  if (ack.term != options_.term) {
    wrongAck(format("in term %u, this is term %u", ack.term, options_.term));
  }
  if (options_.durable && (ack.flags & kAckDurable) == 0) {
    throw PeerError(kPeerProtocol, "the ack is not durable, durability is \"disk\"");
  }
  if (ack.sequence >= peer.nextSend) {
    wrongAck(format("batch %" PRIu64 ", which was never sent (the last one sent is %" PRId64 ")",
                    ack.sequence, static_cast<int64_t>(peer.nextSend) - 1));
  }
  // Positions travel in acks, so one that acknowledges nothing new is normal. Batches that
  // left detached are not known any more.
  if (ack.sequence >= peer.ackedEnd) {
    gate.checkAck(ack);
    peer.ackedEnd = ack.sequence + 1;
    cover();
    const uint64_t now = clock_.monotonicNs();
    awaited_.moved(now);
    transfers_.committedBefore(gate.coveredEnd(), now);
  }
  const Position executed{ack.executedIcount, ack.executedVtimeNs};
  if (peer.executed < executed) peer.executed = executed;
  peer.inPending = ack.inPending;
  progressed = true;
}

void Shipper::agreedBefore(Peer& peer, uint64_t end) {
  peer.ackedEnd = end;
  gate.loggedBefore(end);
  cover();
  awaited_.moved(clock_.monotonicNs());
  gate.release();
  progressed = true;
}

}  // namespace exitlog
