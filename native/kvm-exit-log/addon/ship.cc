// SPDX-License-Identifier: Apache-2.0
#include "ship.h"

#include <cstring>

#include "frame.h"
#include "peer.h"

namespace exitlog {

namespace {

// Queued for a backup that reads too slowly: above, records stay in the ring, and QEMU
// waits when that is full.
constexpr size_t kQueueBytesHigh = 4u << 20;
constexpr size_t kQueueBytesLow = 1u << 20;
// Where QEMU's ring says that there is something and nothing can be sealed.
constexpr uint64_t kRetryNs = 1000000;

}  // namespace

Shipper::Shipper(const Shm& shm, Sealer& sealer, Events& events, const ShipOptions& options,
                 std::unique_ptr<Segment> segment)
    : gate(shm, events, options.sequence, options.needsAck), log(std::move(segment)), shm_(shm),
      sealer_(sealer), events_(events), options_(options), frame_(kBatchFrameBytesMax),
      lookedNs_(monotonicNs()), sealedNs_(lookedNs_) {}

// 0: now.
uint64_t Shipper::dueAtNs(uint64_t now) {
  const SealNumbers& n = options_.numbers;
  const uint64_t records = sealer_.pending();
  const Sealer::Waiting& waiting = sealer_.waiting();
  consoleWaits_ = waiting.outputs > waiting.packets;
  if (flushing_ || waiting.packets > 0 || records >= n.recordsMax) return 0;
  // Nobody tells when inputs come: at the earliest after we looked last.
  if (records > 0) return lookedNs_ + n.batchNs;
  lookedNs_ = now;
  if (n.horizonBusyNs == 0 || !sealer_.horizonMoved()) return now + n.horizonIdleNs;
  const uint64_t since = loadRelaxed(shm_.header()->icount) - sealer_.horizonSealed().icount;
  if (since >= n.busyInstructions) return sealedNs_ + n.horizonBusyNs;
  return sealedNs_ + n.horizonIdleNs;
}

uint64_t Shipper::pump(std::unique_lock<std::mutex>& lock, Syncer& syncer, Link* link) {
  afterSync();
  if (unwritten_ > 0 && !writeBatch(lock, syncer)) {
    gate.release();
    return kNever;
  }
  uint64_t lookAt = kNever;
  while (!stopped_ && !broken_ && mayBegin()) {
    if (link != nullptr) {
      const size_t queued = link->queuedBytes();
      pressed_ = pressed_ ? queued > kQueueBytesLow : queued > kQueueBytesHigh;
    } else {
      pressed_ = false;
    }
    if (pressed_) break;
    const uint64_t now = monotonicNs();
    const uint64_t due = dueAtNs(now);
    if (due > now) {
      lookAt = due;
      break;
    }
    if (!sealBatch()) {
      lookAt = now + kRetryNs;
      break;
    }
    lookedNs_ = sealedNs_ = now;
    sendBatch(link);
    if (!writeBatch(lock, syncer)) break;
    gate.release();
  }
  gate.release();
  if (flushing_ && (stopped_ || broken_ || !mayBegin() || sealer_.pending() == 0) && unwritten_ == 0) {
    flushing_ = false;
    events_.push(EventKind::kFlushed);
  }
  return lookAt;
}

bool Shipper::somethingUrgent(uint32_t mode) {
  if (stopped_ || pressed_ || broken_ || unwritten_ > 0 || !mayBegin()) return false;
  const Sealer::Waiting& waiting = sealer_.waiting();
  return mode == EXITLOG_SLEEPS_PACKETS ? waiting.packets > 0 : waiting.outputs > 0;
}

bool Shipper::sealBatch() {
  SealHeader header{};
  header.vmIdLo = options_.vmIdLo;
  header.vmIdHi = options_.vmIdHi;
  header.term = options_.term;
  header.epoch = header.sequence = options_.sequence;
  header.sealedAtNs = realtimeNs();
  header.prevChecksum = options_.prevChecksum;
  try {
    frameBytes_ = sealer_.seal(frame_.data(), frame_.size(), header);
  } catch (const std::exception& error) {
    broken_ = true;
    events_.push(EventKind::kBroken, error.what(), "");
    return false;
  }
  if (frameBytes_ == 0) return false;
  const SealResult& sealed = sealer_.last();
  Gate::Batch batch{options_.sequence, sealed.recordEnd, sealed.outputs, {}};
  if (sealed.charOutBytes > 0) {
    const FrameView view = readFrame(frame_.data(), frameBytes_);
    BatchView records;
    memcpy(&records.head, view.body, sizeof records.head);
    records.records = view.body + sizeof(BatchHead);
    records.data = records.records + sealed.records * sizeof(struct exitlog_record);
    joinCharOut(records, -1, batch.console);
  }
  gate.add(std::move(batch));
  options_.sequence++;
  options_.prevChecksum = sealed.checksum;
  bytes_ += frameBytes_;
  records_ += sealed.records;
  horizon_ = sealed.horizon;
  return true;
}

__attribute__((noinline)) void Shipper::sendBatch(Link* link) {
  unwritten_ = frameBytes_;
  if (link == nullptr) return;
  link->send(frame_.data(), frameBytes_);
  gate.sent(options_.sequence - 1);
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
  events_.push(EventKind::kLogFailed, name == nullptr ? "EIO" : name, log->fault.what);
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
