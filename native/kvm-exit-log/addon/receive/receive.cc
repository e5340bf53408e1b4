// SPDX-License-Identifier: Apache-2.0
#include "receive/receive.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "bits/ack.h"
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

Receiver::Receiver(const Shm& shm, Filler& filler, const Clock& clock, Events& events,
                   const ReceiveOptions& options, std::unique_ptr<Log> toLog)
    : log(std::move(toLog)), shm_(shm), filler_(filler), clock_(clock), events_(events),
      options_(options),
      last_{options.start.sequence, options.start.recordBase, options.start.dataBase,
            options.start.prevChecksum},
      stored_(last_), ackedEnd_(last_.end) {
  if (filler_.isAt(last_.recordEnd, last_.dataEnd)) return;
  throw RingError("ERR_RING_STATE", format("the replay ring does not start at record %" PRIu64
                                           " and data %" PRIu64, last_.recordEnd, last_.dataEnd));
}

Receiver::Mark Receiver::endOf(const BatchView& batch) {
  const BatchHeader& header = batch.head.header;
  return Mark{header.sequence + 1, header.recordBase + header.recordCount,
              header.dataBase + header.dataBytes, header.headerChecksum ^ header.bodyChecksum};
}

__attribute__((noinline)) void Receiver::take(const uint8_t* frame, uint64_t bytes) {
  // In the next term nothing of this one counts any more.
  if (closed_) return;
  Batch batch{{}, frame, bytes};
  try {
    batch.view = readBatch(readFrame(frame, bytes));
  } catch (const CorruptError& error) {
    wrong(format("a damaged batch: %s", error.what()));
  }
  verify(batch.view);
  const BatchHeader& header = batch.view.head.header;
  received_.advance(batch.view);
  if (isNone(last_)) events_.push(EventKind::first);
  last_ = endOf(batch.view);
  bytes_ += bytes;
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

Receiver::Step Receiver::next(Outlet* outlet) {
  if (roundStored_ < round_.size() && log != nullptr && !log->faulty) {
    if (log->rolling()) return Step::wait;
    // Frames that lie one behind the other are one write.
    const uint8_t* from = round_[roundStored_].bytes;
    writingCount_ = 0;
    writing_ = 0;
    for (size_t i = roundStored_; i < round_.size(); i++) {
      if (round_[i].bytes != from + writing_) break;
      if (log->needsRoll(writing_ + round_[i].length) && writingCount_ > 0) break;
      writing_ += round_[i].length;
      writingCount_++;
    }
    if (!log->needsRoll(writing_)) return Step::write;
    const BatchHeader& header = round_[roundStored_].view.head.header;
    log->askRoll(header.sequence, header.term);
    return Step::wait;
  }
  finishRound(outlet);
  return Step::done;
}

void Receiver::written(const WriteFault* fault) {
  if (fault != nullptr) {
    log->fail(*fault);
    return;
  }
  log->bytesWritten += writing_;
  roundStored_ += writingCount_;
  const Mark mark = endOf(round_[roundStored_ - 1].view);
  log->writtenEnd = mark.end;
  if (options_.durable) {
    unsynced_.push_back(mark);
    log->askSync();
  } else {
    stored_ = mark;
  }
}

void Receiver::finishRound(Outlet* outlet) {
  if (log != nullptr && log->faulty) logFault();
  else sendAck(outlet);
  for (const Batch& batch : round_) fillOrQueue(batch);
  round_.clear();
  roundStored_ = 0;
}

uint64_t Receiver::pump(Outlet* outlet) {
  if (log != nullptr && log->faulty) logFault();
  while (!unsynced_.empty() && log != nullptr && unsynced_.front().end <= log->syncedEnd) {
    stored_ = unsynced_.front();
    unsynced_.pop_front();
  }
  sendAck(outlet);
  uint64_t until = tellProgress(outlet);
  while (!queue_.empty()) {
    const std::vector<uint8_t>& frame = queue_.front();
    if (!filler_.hasRoomFor(frame.data()) || !filler_.fill(frame.data(), frame.size())) break;
    queuedBytes_ -= frame.size();
    queue_.pop_front();
  }
  pressed_ = pressed_ ? queuedBytes_ > options_.queueBytesLow
                      : queuedBytes_ > options_.queueBytesHigh;
  return queue_.empty() ? until : std::min(until, clock_.monotonicNs() + kRoomNs);
}

// @returns when to look again, CLOCK_MONOTONIC ns
uint64_t Receiver::tellProgress(Outlet* outlet) {
  const bool hasAcked = ackedEnd_ != options_.start.sequence;
  if (closed_ || !hasAcked || toldIcount_ >= horizonIcount_) return UINT64_MAX;
  const uint64_t now = clock_.monotonicNs();
  if (now >= toldAtNs_ + kProgressNs) {
    if (loadRelaxed(shm_.header()->icount) > toldIcount_) writeAck(outlet);
    else toldAtNs_ = now;
  }
  return toldAtNs_ + kProgressNs;
}

__attribute__((noinline)) void Receiver::sendAck(Outlet* outlet) {
  if (stored_.end != ackedEnd_) writeAck(outlet);
}

__attribute__((noinline)) void Receiver::writeAck(Outlet* outlet) {
  const bool failed = log != nullptr && log->faulty;
  toldAtNs_ = clock_.monotonicNs();
  if (closed_ || failed || outlet == nullptr) return;
  ackedEnd_ = stored_.end;
  const struct exitlog_shm* shm = shm_.header();
  AckFrame ack{};
  ack.body.sequence = stored_.end - 1;
  ack.body.recordEnd = stored_.recordEnd;
  ack.body.executedIcount = loadRelaxed(shm->icount);
  ack.body.executedVtimeNs = loadRelaxed(shm->vtime_ns);
  ack.body.sentAtNs = clock_.realtimeNs();
  ack.body.term = options_.term;
  ack.body.flags = options_.durable ? kAckDurable : 0;
  ack.body.batchChecksum = stored_.checksum;
  ack.body.inPending = filler_.pending();
  toldIcount_ = ack.body.executedIcount;
  sealAck(ack);
  outlet->send(reinterpret_cast<const uint8_t*>(&ack), sizeof ack);
}

void Receiver::fillOrQueue(const Batch& batch) {
  if (queue_.empty() && filler_.fillVerified(batch.view)) return;
  queue_.emplace_back(batch.bytes, batch.bytes + batch.length);
  queuedBytes_ += batch.length;
  pressed_ = pressed_ || queuedBytes_ > options_.queueBytesHigh;
}

LogEnd Receiver::end() const {
  if (!round_.empty() || !queue_.empty()) {
    throw RingError("ERR_RING_STATE", "what was received is still to be stored and replayed");
  }
  return LogEnd{last_.end, last_.recordEnd, last_.dataEnd, last_.checksum, received_.horizon(),
                received_.covered()};
}

std::unique_ptr<Log> Receiver::handOver() {
  closed_ = true;
  if (log != nullptr) log->faultTold = false;  // its next owner is to know
  return std::move(log);
}

void Receiver::tell(Facts& facts) const {
  facts.lastEnd = isNone(last_) ? 0 : last_.end;
  facts.storedEnd = isNone(stored_) ? 0 : stored_.end;
  facts.receivedBytes = bytes_;
  // The replay ring has got everything that counts.
  facts.empty = round_.empty() && queue_.empty() ? 1 : 0;
  facts.pressed = pressed_ ? 1 : 0;
}

void Receiver::logFault() {
  if (log == nullptr || log->faultTold) return;
  log->faultTold = true;
  const char* name = strerrorname_np(log->fault.error);
  events_.push(EventKind::logFailed, name == nullptr ? "EIO" : name, log->fault.what);
}

}  // namespace exitlog
