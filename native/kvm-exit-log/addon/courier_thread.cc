// SPDX-License-Identifier: Apache-2.0
// The courier's thread: what it does in turn, and what it waits for.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "courier.h"

namespace exitlog {

namespace {

// Without a reason to look earlier: bounds what a missed wake-up could cost.
constexpr uint64_t kIdleNs = 100000000;

void drain(int fd) {
  uint64_t count;
  if (read(fd, &count, sizeof count) < 0) {
    // EAGAIN: somebody else was first
  }
}

}  // namespace

// After everything that was received before it was handled.
void Courier::loseLink(const char* code, const std::string& message) {
  if (!linkGone_) {
    heardNs_ = link_->heardNs();
    events_.push(EventKind::closed, code, message);
  }
  linkGone_ = true;
  if (peer_ != nullptr) peer_->leave();
}

bool Courier::takeFrames() {
  Link::Frame frame;
  while (!linkGone_) {
    if (events_.isFull() || (receiver_ && receiver_->isFull())) return false;
    if (!link_->next(frame)) break;
    if (frame.type == kFrameBatch && receiver_) {
      receiver_->take(frame.bytes, frame.length);
    } else if (frame.type == kFrameState && receiver_) {
      receiver_->takeState(frame.bytes, frame.length);
    } else if (frame.type == kFrameAck && peer_ != nullptr) {
      shipper_->ackArrived(*peer_, frame.bytes, frame.length);
    } else if (frame.type != kFrameHeartbeat ||
               !pulse_.heard(frame.bytes, frame.length, realtimeNs())) {
      events_.push(EventKind::frame,
                   std::vector<uint8_t>(frame.bytes, frame.bytes + frame.length));
    }
  }
  return true;
}

template <class Work>
auto Courier::away(std::unique_lock<std::mutex>& lock, const char* doing, Work work) {
  awaySinceNs_ = monotonicNs();
  awayFor_ = doing;
  lock.unlock();
  const auto done = work();
  lock.lock();
  awaySinceNs_ = 0;
  roundNs_ = monotonicNs();
  return done;
}

// The lock is given up around reads and writes of files: the peer may be another one
// afterwards.
// @returns when to look again
uint64_t Courier::ship(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    const Shipper::Step step = shipper_->next();
    if (step.kind == Shipper::Step::Kind::rest) return step.lookAtNs;
    if (step.kind == Shipper::Step::Kind::write) {
      const Shipper::Batch batch = shipper_->batch();
      WriteFault fault{};
      Log& log = *shipper_->log;
      const bool wrote = away(lock, "a write of its log", [&] {
        return log.append(batch.bytes, batch.count, fault);
      });
      shipper_->written(wrote ? nullptr : &fault);
    } else {
      const Shipper::Read read = shipper_->reading();
      Backlog::Piece piece;
      std::string why;
      const bool isRead = away(lock, "a read of its log", [&] {
        return read.backlog->read(read.sequence, read.end, piece, why);
      });
      shipper_->wasRead(*read.backlog, isRead, piece, why);
    }
  }
}

// Stores and acknowledges what was taken. False: to be called again, and nothing read before.
bool Courier::finishRound(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    const Receiver::Step step = receiver_->next(link_.get());
    if (step == Receiver::Step::prepare) {
      WriteFault fault{};
      const bool done = away(lock, "a write of its images' journal", [&] {
        return receiver_->prepare(fault);
      });
      receiver_->prepared(done ? nullptr : &fault);
      continue;
    }
    if (step != Receiver::Step::write) return step == Receiver::Step::done;
    const Receiver::Batches batches = receiver_->batches();
    WriteFault fault{};
    Log& log = *receiver_->log;
    const bool wrote = away(lock, "a write of its log", [&] {
      return log.append(batches.bytes, batches.count, fault);
    });
    receiver_->written(wrote ? nullptr : &fault);
  }
}

bool Courier::mayRead() const {
  return !events_.isFull() && (!receiver_ || receiver_->mayRead());
}

void Courier::serveLink(std::unique_lock<std::mutex>& lock, bool readable) {
  if (!link_) return;
  if (receiver_ && !finishRound(lock)) return;
  bool hasMore = true;
  while (hasMore && !fault_ && !linkGone_ && mayRead()) {
    hasMore = false;
    try {
      // Read before the hand-over, or left for the next round.
      if (link_->hasUnread()) hasMore = !takeFrames();
      // What was taken lies where the next is read to: it is stored first.
      if (!hasMore && readable && mayRead() && link_->read()) {
        readable = false;
        hasMore = !takeFrames();
      }
    } catch (const PeerError& error) {
      fault_ = std::make_unique<PeerError>(error);
    }
    // What was whole counts, whatever came after it.
    if (receiver_ && !finishRound(lock)) return;
  }
  if (fault_) loseLink(fault_->code, fault_->what());
  if (!linkGone_) {
    link_->flush();
    if (link_->drained()) events_.push(EventKind::drained);
    if (link_->hasEnded()) loseLink(kPeerLost, "the connection closed");
  }
  replaced_.clear();
  if (linkGone_) link_.reset();
}

// Ends the thread once everything is done that must not be left undone.
void Courier::finishing() {
  if ((link_ && link_->isEnding()) || (shipper_ && shipper_->isWriting())) return;
  if (receiver_ && receiver_->isStoring()) return;
  bool finished = true;
  for (Log* log : {shipper_ ? shipper_->log.get() : nullptr,
                   receiver_ ? receiver_->log.get() : nullptr}) {
    if (log == nullptr || log->finished) continue;
    log->askFinish();
    finished = false;
  }
  ended_ = finished;
}

void Courier::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  bool readable = false;
  while (!aborting_ && !ended_) {
    storeRelaxed(shm_.header()->daemon_sleeping, static_cast<uint32_t>(EXITLOG_AWAKE));
    uint64_t until = kNever;
    try {
      serveLink(lock, readable);
      Link* link = link_ && !linkGone_ && !link_->isEnding() ? link_.get() : nullptr;
      if (receiver_) until = receiver_->pump(link);
      if (shipper_) until = std::min(until, ship(lock));
    } catch (const PeerError& error) {
      fault_ = std::make_unique<PeerError>(error);
      until = 0;
    } catch (const std::exception& error) {
      // QEMU took what it was not given: its process is not to be trusted any more.
      events_.push(EventKind::broken, error.what(), "");
      aborting_ = true;
      break;
    }
    readable = false;
    const uint64_t now = monotonicNs();
    if (shipper_ && shipper_->progressed) {
      if (now >= toldProgressNs_ + progressNs_) {
        shipper_->progressed = false;
        toldProgressNs_ = now;
        events_.push(EventKind::progress);
      } else {
        until = std::min(until, toldProgressNs_ + progressNs_);
      }
    }
    if (link_ && link_->isEnding()) until = std::min(until, link_->endsNs());
    if (closing_) finishing();
    if (!ended_ && !aborting_) sleep(lock, std::min(until, now + kIdleNs), readable);
  }
  if (link_) link_->shut();
  link_.reset();
  ended_ = isGone_ = true;
  pulseChanged_.notify_one();
  goneChanged_.notify_one();
  events_.push(EventKind::ended);
}

// QEMU looks at daemon_sleeping after it has published; we look at what it published
// after setting it: one of the two must see the other, so no wake-up is lost.
bool Courier::mustNotSleep(uint32_t mode) {
  return shipper_ && shipper_->somethingUrgent(mode);
}

void Courier::sleep(std::unique_lock<std::mutex>& lock, uint64_t until, bool& readable) {
  const uint32_t mode =
      shipper_ ? shipper_->sleepFor() : static_cast<uint32_t>(EXITLOG_SLEEPS_OUTPUTS);
  __atomic_store_n(&shm_.header()->daemon_sleeping, mode, __ATOMIC_SEQ_CST);
  fullFence();
  if (mustNotSleep(mode)) return;
  struct pollfd fds[3] = {{shm_.notifyFd(), POLLIN, 0}, {nudgeFd_, POLLIN, 0}, {-1, 0, 0}};
  if (link_) {
    fds[2].fd = link_->fd();
    const bool read = !fault_ && mayRead();
    fds[2].events = static_cast<short>((read ? POLLIN : 0) |
                                       (link_->queuedBytes() > 0 ? POLLOUT : 0));
    // A socket that is shut reports POLLHUP for ever.
    if (!read && fds[2].events == 0) fds[2].fd = -1;
  }
  const uint64_t now = monotonicNs();
  roundNs_ = now;
  const uint64_t wait = until > now ? until - now : 0;
  const struct timespec timeout{static_cast<time_t>(wait / 1000000000u),
                                static_cast<long>(wait % 1000000000u)};
  lock.unlock();
  const int ready = ppoll(fds, 3, &timeout, nullptr);
  if (ready > 0) {
    if (fds[0].revents != 0) drain(shm_.notifyFd());
    if (fds[1].revents != 0) drain(nudgeFd_);
    readable = (fds[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  }
  lock.lock();
}

}  // namespace exitlog
