// SPDX-License-Identifier: Apache-2.0
#include "receive/receive.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <new>
#include <system_error>

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

// Batches whose epoch has no end yet.
constexpr uint64_t kHeldBytesMax = 256u << 20;

const std::string kEpochState = "the state of an epoch: ";

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

bool hasEnd(const BatchView& batch) {
  const uint32_t count = batch.head.header.recordCount;
  return count > 0 && recordAt(batch, count - 1).kind == EXITLOG_END;
}

}  // namespace

Receiver::Receiver(std::unique_ptr<Follower> follower, const Clock& clock, Events& events,
                   const ReceiveOptions& options, std::unique_ptr<Log> toLog)
    : log(std::move(toLog)), follower_(std::move(follower)), clock_(clock), events_(events),
      options_(options),
      last_{options.start.sequence, options.start.recordBase, options.start.dataBase,
            options.start.prevChecksum},
      whole_{last_.end, last_.recordEnd, last_.dataEnd, last_.checksum, {}, {}}, stored_(last_),
      ackedEnd_(last_.end) {
  follower_->checkStart(last_.recordEnd, last_.dataEnd);
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
  received_.advance(batch.view);
  last_ = endOf(batch.view);
  bytes_ += bytes;
  if (!follower_->isWhole(batch.view)) return hold(batch);
  if (whole_.sequence == options_.start.sequence) events_.push(EventKind::first);
  whole_ = LogEnd{last_.end, last_.recordEnd, last_.dataEnd, last_.checksum, received_.horizon(),
                  received_.covered()};
  if (!held_.empty()) takeHeld();
  round_.push_back(batch);
  tellConsole(batch.view);
}

void Receiver::takeState(const uint8_t* frame, uint64_t bytes) {
  if (closed_) return;
  bytes_ += bytes;
  try {
    follower_->takeState(frame, bytes);
  } catch (const std::system_error& error) {
    fail(error.code().value(), kEpochState + error.what());
  } catch (const std::bad_alloc&) {
    fail(ENOMEM, kEpochState + "none is left");
  }
}

void Receiver::hold(const Batch& batch) {
  heldBytes_ += batch.length;
  if (heldBytes_ > kHeldBytesMax) {
    wrong(format("%" PRIu64 " bytes of log without the end of an epoch", heldBytes_));
  }
  try {
    held_.emplace_back(batch.bytes, batch.bytes + batch.length);
  } catch (const std::bad_alloc&) {
    fail(ENOMEM, "the log of an epoch");
  }
}

void Receiver::takeHeld() {
  for (std::vector<uint8_t>& bytes : held_) {
    const Batch batch{readBatch(readFrame(bytes.data(), bytes.size())), bytes.data(), bytes.size()};
    round_.push_back(batch);
    tellConsole(batch.view);
    roundHeld_.push_back(std::move(bytes));
  }
  held_.clear();
  heldBytes_ = 0;
}

void Receiver::tellConsole(const BatchView& batch) {
  if (batch.head.header.dataBytes == 0) return;
  const auto tell = [&](enum exitlog_console port, EventKind kind) {
    std::vector<uint8_t> printed;
    joinCharOut(batch, port, printed);
    if (!printed.empty()) events_.push(kind, std::move(printed));
  };
  tell(EXITLOG_CONSOLE, EventKind::console);
  tell(EXITLOG_CONSOLE_GUARD, EventKind::guard);
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
}

Receiver::Step Receiver::next(Outlet* outlet) {
  if (!round_.empty() && !isPrepared_ && !gaveUp_ && follower_->mustPrepare()) {
    if (!options_.durable || log == nullptr || log->faulty) return Step::prepare;
    prepareWithLog();
  }
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
  if (waitsForSync()) return Step::wait;
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

bool Receiver::prepare(WriteFault& fault) {
  try {
    follower_->prepare();
    return true;
  } catch (const std::system_error& error) {
    fault = WriteFault{error.code().value(), error.what()};
  } catch (const std::bad_alloc&) {
    fault = WriteFault{ENOMEM, "the journal of the disks"};
  }
  return false;
}

// A sync may take long, and heartbeats leave meanwhile: it is the log's thread that waits.
void Receiver::prepareWithLog() {
  isPrepared_ = true;
  isSyncing_ = true;
  log->beforeSync = [this](WriteFault& fault) { return prepare(fault); };
}

// Before it is synced it is neither acknowledged nor put.
bool Receiver::waitsForSync() {
  if (!isSyncing_) return false;
  if (log->syncing) return true;
  if (!log->faulty && log->syncedEnd < endOf(round_.back().view).end) return true;
  isSyncing_ = false;
  log->beforeSync = nullptr;
  if (!log->faulty) takeSynced();
  else if (follower_->mustPrepare()) gaveUp_ = true;
  return false;
}

void Receiver::takeSynced() {
  while (!unsynced_.empty() && log != nullptr && unsynced_.front().end <= log->syncedEnd) {
    stored_ = unsynced_.front();
    unsynced_.pop_front();
  }
}

void Receiver::prepared(const WriteFault* fault) {
  isPrepared_ = true;
  if (fault != nullptr) giveUp(fault->error, fault->what);
}

void Receiver::giveUp(int error, const std::string& what) {
  gaveUp_ = true;
  fail(error, what);
}

// Nothing more is taken. What is whole and acknowledged counts.
void Receiver::fail(int error, const std::string& what) {
  closed_ = true;
  const char* name = strerrorname_np(error);
  events_.push(EventKind::logFailed, name == nullptr ? "EIO" : name, what);
}

void Receiver::finishRound(Outlet* outlet) {
  if (log != nullptr && log->faulty) logFault();
  else sendAck(outlet);
  for (const Batch& batch : round_) {
    if (gaveUp_ || !fillOrQueue(batch)) break;
    if (hasEnd(batch.view)) events_.push(EventKind::logEnded);
  }
  round_.clear();
  roundHeld_.clear();
  roundStored_ = 0;
  isPrepared_ = false;
}

uint64_t Receiver::pump(Outlet* outlet) {
  if (log != nullptr && log->faulty) logFault();
  takeSynced();
  sendAck(outlet);
  uint64_t until = tellProgress(outlet);
  while (!queue_.empty()) {
    const std::vector<uint8_t>& frame = queue_.front();
    if (!follower_->hasRoomFor(frame.data())) break;
    if (!follower_->put(readBatch(readFrame(frame.data(), frame.size())))) break;
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
  if (closed_ || !hasAcked || toldIcount_ >= whole_.horizon.icount) return UINT64_MAX;
  const uint64_t now = clock_.monotonicNs();
  if (now >= toldAtNs_ + kProgressNs) {
    if (follower_->executed(whole_.horizon).icount > toldIcount_) writeAck(outlet);
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
  const Position executed = follower_->executed(whole_.horizon);
  AckFrame ack{};
  ack.body.sequence = stored_.end - 1;
  ack.body.recordEnd = stored_.recordEnd;
  ack.body.executedIcount = executed.icount;
  ack.body.executedVtimeNs = executed.vtimeNs;
  ack.body.sentAtNs = clock_.realtimeNs();
  ack.body.term = options_.term;
  ack.body.flags = options_.durable ? kAckDurable : 0;
  ack.body.batchChecksum = stored_.checksum;
  ack.body.inPending = follower_->pending();
  toldIcount_ = ack.body.executedIcount;
  sealAck(ack);
  outlet->send(reinterpret_cast<const uint8_t*>(&ack), sizeof ack);
}

// @returns false: it cannot be, for good
bool Receiver::fillOrQueue(const Batch& batch) {
  try {
    if (queue_.empty() && follower_->put(batch.view)) return true;
  } catch (const ImageDiffers& error) {
    closed_ = gaveUp_ = true;
    events_.push(EventKind::diverged, error.what(), "");
    return false;
  } catch (const std::system_error& error) {
    // It holds what it has acknowledged, and can do nothing with it.
    giveUp(error.code().value(), error.what());
    return false;
  } catch (const std::bad_alloc&) {
    giveUp(ENOMEM, kEpochState + "none is left");
    return false;
  }
  queue_.emplace_back(batch.bytes, batch.bytes + batch.length);
  queuedBytes_ += batch.length;
  pressed_ = pressed_ || queuedBytes_ > options_.queueBytesHigh;
  return true;
}

LogEnd Receiver::end() const {
  if (!round_.empty() || !queue_.empty()) {
    throw RingError("ERR_RING_STATE", "what was received is still to be stored and replayed");
  }
  if (gaveUp_) throw RingError("ERR_RING_STATE", "an epoch came that could not be applied");
  return whole_;
}

std::unique_ptr<Log> Receiver::handOver() {
  closed_ = true;
  if (log != nullptr) log->faultTold = false;  // its next owner is to know
  return std::move(log);
}

void Receiver::tell(Facts& facts) const {
  facts.lastEnd = whole_.sequence == options_.start.sequence ? 0 : whole_.sequence;
  facts.storedEnd = isNone(stored_) ? 0 : stored_.end;
  facts.receivedBytes = bytes_;
  // The replay ring has got everything that counts.
  facts.empty = round_.empty() && queue_.empty() ? 1 : 0;
  facts.pressed = pressed() ? 1 : 0;
  facts.imageCompared = follower_->compared();
}

void Receiver::logFault() {
  if (log == nullptr || log->faultTold) return;
  log->faultTold = true;
  const char* name = strerrorname_np(log->fault.error);
  events_.push(EventKind::logFailed, name == nullptr ? "EIO" : name, log->fault.what);
}

}  // namespace exitlog
