// SPDX-License-Identifier: Apache-2.0
#include "receive/receive.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "bits/clock.h"
#include "bits/peer_error.h"

namespace exitlog {

namespace {

// How often to look whether a full IN has room: it holds much more than QEMU takes in
// this time.
constexpr uint64_t kRoomNs = 1000000;

// While the guest here is behind, the primary is told so often where it is. Batches
// alone are not enough: a primary that waits for us (the lag bound) sends none, and
// would hear of our progress only with the next heartbeat.
constexpr uint64_t kProgressNs = 5000000;

[[noreturn]] void wrong(const std::string& what) {
  throw PeerError(kPeerProtocol, "the primary sent " + what);
}

std::string hexOf(uint64_t lo, uint64_t hi) {
  uint8_t bytes[16];
  memcpy(bytes, &lo, 8);
  memcpy(bytes + 8, &hi, 8);
  std::string text;
  for (const uint8_t byte : bytes) text += format("%02x", byte);
  return text;
}

}  // namespace

Receiver::Receiver(const Shm& shm, Filler& filler, Events& events, const ReceiveOptions& options,
                   std::unique_ptr<Segment> segment)
    : log(std::move(segment)), shm_(shm), filler_(filler), events_(events), options_(options),
      last_{options.start.sequence, options.start.recordBase, options.start.dataBase,
            options.start.prevChecksum},
      stored_(last_), ackedEnd_(last_.end) {
  if (filler_.isAt(last_.recordEnd, last_.dataEnd)) return;
  throw RingError("ERR_RING_STATE", format("the replay ring does not start at record %" PRIu64
                                           " and data %" PRIu64, last_.recordEnd, last_.dataEnd));
}

__attribute__((noinline)) void Receiver::take(const Link::Frame& frame) {
  // In the next term nothing of this one counts any more.
  if (closed_) return;
  Batch batch{{}, frame.bytes, frame.length};
  try {
    batch.view = readBatch(readFrame(frame.bytes, frame.length));
  } catch (const CorruptError& error) {
    wrong(format("a damaged batch: %s", error.what()));
  }
  verify(batch.view);
  const BatchHeader& header = batch.view.head.header;
  received_.advance(batch.view);
  if (isNone(last_)) events_.push(EventKind::first);
  last_ = Mark{header.sequence + 1, header.recordBase + header.recordCount,
               header.dataBase + header.dataBytes, header.headerChecksum ^ header.bodyChecksum};
  bytes_ += frame.length;
  horizonIcount_ = header.horizonIcount;
  std::vector<uint8_t> console;
  if (header.dataBytes > 0) joinCharOut(batch.view, -1, console);
  if (!console.empty()) events_.push(EventKind::console, std::move(console));
  round_.push_back(batch);
}

void Receiver::verify(const BatchView& batch) const {
  const BatchHeader& header = batch.head.header;
  if (header.vmIdLo != options_.vmIdLo || header.vmIdHi != options_.vmIdHi) {
    wrong(format("a batch of another VM (%s)", hexOf(header.vmIdLo, header.vmIdHi).c_str()));
  }
  if (header.term != options_.term) {
    wrong(format("a batch of term %u, this is term %u", header.term, options_.term));
  }
  if (header.sequence != last_.end) {
    wrong(format("batch %" PRIu64 " where batch %" PRIu64 " is due", header.sequence, last_.end));
  }
  if (header.bodyPrevChecksum != last_.checksum) {
    wrong(format("batch %" PRIu64 " of another log: it does not follow the one before",
                 header.sequence));
  }
  if (header.recordBase != last_.recordEnd) {
    wrong(format("batch %" PRIu64 " from record %" PRIu64 ", %" PRIu64 " is due", header.sequence,
                 header.recordBase, last_.recordEnd));
  }
  try {
    received_.check(batch, last_.recordEnd, last_.dataEnd);
  } catch (const CorruptError& error) {
    wrong(error.what());
  }
  const Shm::Ring& in = shm_.in();
  if (header.recordCount > in.slots || header.dataBytes > in.dataBytes) {
    wrong(format("batch %" PRIu64 ", which can never fit the replay ring", header.sequence));
  }
}

bool Receiver::finishRound(std::unique_lock<std::mutex>& lock, Syncer& syncer, Link* link) {
  while (roundStored_ < round_.size() && log != nullptr && !log->faulty) {
    if (log->rolling()) return false;
    const Batch& first = round_[roundStored_];
    // Frames that lie one behind the other are one write.
    size_t count = 0;
    uint64_t bytes = 0;
    for (size_t i = roundStored_; i < round_.size(); i++) {
      if (round_[i].bytes != first.bytes + bytes) break;
      if (log->needsRoll(bytes + round_[i].length) && count > 0) break;
      bytes += round_[i].length;
      count++;
    }
    if (log->needsRoll(bytes)) {
      log->rollSequence = first.view.head.header.sequence;
      log->rollTerm = first.view.head.header.term;
      log->wantRoll = true;
      syncer.wake();
      return false;
    }
    WriteFault fault{};
    lock.unlock();
    const bool wrote = log->append(first.bytes, bytes, fault);
    lock.lock();
    if (!wrote) {
      log->faulty = true;
      log->fault = fault;
      break;
    }
    log->bytesWritten += bytes;
    roundStored_ += count;
    const BatchHeader& end = round_[roundStored_ - 1].view.head.header;
    const Mark mark{end.sequence + 1, end.recordBase + end.recordCount,
                    end.dataBase + end.dataBytes, end.headerChecksum ^ end.bodyChecksum};
    log->writtenEnd = mark.end;
    if (options_.durable) {
      unsynced_.push_back(mark);
      log->wantSync = true;
      syncer.wake();
    } else {
      stored_ = mark;
    }
  }
  if (log != nullptr && log->faulty) logFault();
  else sendAck(link);
  for (const Batch& batch : round_) fillOrQueue(batch);
  round_.clear();
  roundStored_ = 0;
  return true;
}

uint64_t Receiver::pump(Link* link) {
  if (log != nullptr && log->faulty) logFault();
  while (!unsynced_.empty() && log != nullptr && unsynced_.front().end <= log->syncedEnd) {
    stored_ = unsynced_.front();
    unsynced_.pop_front();
  }
  sendAck(link);
  uint64_t until = tellProgress(link);
  while (!queue_.empty()) {
    const std::vector<uint8_t>& frame = queue_.front();
    if (!filler_.hasRoomFor(frame.data()) || !filler_.fill(frame.data(), frame.size())) break;
    queuedBytes_ -= frame.size();
    queue_.pop_front();
  }
  pressed_ = pressed_ ? queuedBytes_ > options_.queueBytesLow
                      : queuedBytes_ > options_.queueBytesHigh;
  return queue_.empty() ? until : std::min(until, monotonicNs() + kRoomNs);
}

// @returns when to look again, CLOCK_MONOTONIC ns
uint64_t Receiver::tellProgress(Link* link) {
  const bool hasAcked = ackedEnd_ != options_.start.sequence;
  if (closed_ || !hasAcked || toldIcount_ >= horizonIcount_) return UINT64_MAX;
  const uint64_t now = monotonicNs();
  if (now >= toldAtNs_ + kProgressNs) {
    if (loadRelaxed(shm_.header()->icount) > toldIcount_) writeAck(link);
    else toldAtNs_ = now;
  }
  return toldAtNs_ + kProgressNs;
}

__attribute__((noinline)) void Receiver::sendAck(Link* link) {
  if (stored_.end != ackedEnd_) writeAck(link);
}

__attribute__((noinline)) void Receiver::writeAck(Link* link) {
  const bool failed = log != nullptr && log->faulty;
  toldAtNs_ = monotonicNs();
  if (closed_ || failed || link == nullptr) return;
  ackedEnd_ = stored_.end;
  const struct exitlog_shm* shm = shm_.header();
  AckFrame ack{};
  ack.body.sequence = stored_.end - 1;
  ack.body.recordEnd = stored_.recordEnd;
  ack.body.executedIcount = loadRelaxed(shm->icount);
  ack.body.executedVtimeNs = loadRelaxed(shm->vtime_ns);
  ack.body.sentAtNs = realtimeNs();
  ack.body.term = options_.term;
  ack.body.flags = options_.durable ? kAckDurable : 0;
  ack.body.batchChecksum = stored_.checksum;
  ack.body.inPending = filler_.pending();
  toldIcount_ = ack.body.executedIcount;
  sealAck(ack);
  link->send(reinterpret_cast<const uint8_t*>(&ack), sizeof ack);
}

void Receiver::fillOrQueue(const Batch& batch) {
  if (queue_.empty() && filler_.fillVerified(batch.view)) return;
  queue_.emplace_back(batch.bytes, batch.bytes + batch.length);
  queuedBytes_ += batch.length;
  pressed_ = pressed_ || queuedBytes_ > options_.queueBytesHigh;
}

void Receiver::logFault() {
  if (log == nullptr || log->faultTold) return;
  log->faultTold = true;
  const char* name = strerrorname_np(log->fault.error);
  events_.push(EventKind::logFailed, name == nullptr ? "EIO" : name, log->fault.what);
}

}  // namespace exitlog
