// SPDX-License-Identifier: Apache-2.0
#include "courier.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "bits/clock.h"
#include "image/hand_over.h"
#include "receive/image_follower.h"
#include "receive/replay_follower.h"

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

Courier::Courier(std::shared_ptr<RingCore> core, std::function<void()> wakeJs, uint64_t progressNs)
    : core_(std::move(core)), shm_(core_->shm), progressNs_(progressNs), events_(std::move(wakeJs)),
      nudgeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), syncer_(mutex_, [this] { nudge(); }) {
  if (nudgeFd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  thread_ = std::thread([this] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), "courier");
    run();
  });
}

Courier::~Courier() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    aborting_ = true;
    if (link_) link_->shut();
    nudge();
  }
  thread_.join();
  syncer_.stop();
  ::close(nudgeFd_);
}

void Courier::nudge() {
  const uint64_t one = 1;
  if (write(nudgeFd_, &one, sizeof one) < 0) {
    // EAGAIN: it is readable anyway
  }
}

void Courier::attach(std::unique_ptr<Link>& link, const ShipFrom* from) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (link_ && !linkGone_) throw RingError("ERR_RING_STATE", "the courier has a connection already");
  if (from != nullptr && !shipper_) {
    throw RingError("ERR_RING_STATE", "nothing is shipped: there is no log to catch up from");
  }
  if (shipper_) peer_ = shipper_->peerArrived(link.get(), from);
  if (receiver_) receiver_->peerArrived();
  if (link_) replaced_.push_back(std::move(link_));
  link_ = std::move(link);
  pulse_ = Pulse();
  linkGone_ = false;
  fault_.reset();
  events_.nextLink();
  nudge();
}

void Courier::ship(const ShipOptions& options, std::unique_ptr<Segment> log) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (log) syncer_.own(*log);
  begin(options, std::move(log));
}

void Courier::shipOn(ShipOptions options) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!receiver_) throw RingError("ERR_RING_STATE", "nothing was received: no log continues");
  const LogEnd end = receiver_->end();
  core_->sealer.continueFrom(end);
  options.continues(end);
  begin(options, receiver_->handOver());
}

void Courier::begin(const ShipOptions& options, std::unique_ptr<Log> log) {
  shipper_ = std::make_unique<Shipper>(shm_, core_->sealer, core_->bound, clock_, events_, options,
                                       std::move(log));
  if (link_ && !linkGone_ && !link_->isEnding()) {
    peer_ = shipper_->peerArrived(link_.get(), nullptr);
  }
  nudge();
}

void Courier::receive(const ReceiveOptions& options, std::unique_ptr<Segment> log) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (log) syncer_.own(*log);
  std::unique_ptr<Follower> follower;
  image_ = options.image;
  if (image_) follower = std::make_unique<ImageFollower>(image_, core_->filler);
  else follower = std::make_unique<ReplayFollower>(shm_, core_->filler);
  receiver_ = std::make_unique<Receiver>(std::move(follower), clock_, events_, options,
                                         std::move(log));
  if (link_) receiver_->peerArrived();
  nudge();
}

void Courier::keepState(const std::string& dir) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!shipper_) throw RingError("ERR_RING_STATE", "nothing is shipped: there is no state");
  shipper_->states.keep(dir);
  nudge();
}

void Courier::handOver(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!receiver_ || !image_) throw RingError("ERR_RING_STATE", "there is no image to hand over");
  const LogEnd end = receiver_->end();
  image_->drop();
  exitlog::handOver(*image_, path);
  image_->leaveDisks();
  core_->filler.startAt(end.recordEnd, end.dataEnd);
}

bool Courier::send(const uint8_t* bytes, size_t count) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!link_ || linkGone_) return true;
  link_->send(bytes, count);
  if (link_->queuedBytes() > 0) nudge();
  return link_->hasRoom();
}

void Courier::endLink() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!link_ || linkGone_ || link_->isEnding()) return;
  if (peer_ != nullptr) peer_->leave();
  link_->end();
  nudge();
}

void Courier::dropLink() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!link_ || linkGone_) return;
  linkGone_ = true;
  link_->shut();
  if (peer_ != nullptr) peer_->leave();
  nudge();
}

uint64_t Courier::heardNs() {
  std::lock_guard<std::mutex> lock(mutex_);
  return link_ && !linkGone_ ? link_->heardNs() : heardNs_;
}

void Courier::beat(const uint8_t* frame, size_t length, uint64_t intervalNs, uint64_t forNs) {
  std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t before = pulse_.dueNs();
  pulse_.renew(frame, length, intervalNs, forNs, monotonicNs());
  if (pulse_.dueNs() < before) nudge();
}

bool Courier::heardBeat(Pulse::Heard& into) {
  std::lock_guard<std::mutex> lock(mutex_);
  return pulse_.take(into);
}

// What is queued is a sign of life already, once the peer reads it.
uint64_t Courier::keepBeating(uint64_t nowNs) {
  if (!link_ || linkGone_ || link_->isEnding()) return kNever;
  if (receiver_ && receiver_->pressed()) link_->excuse(nowNs);
  if (nowNs >= pulse_.dueNs()) {
    if (link_->queuedBytes() > 0) return kNever;
    const struct exitlog_shm* shm = shm_.header();
    const Pulse::Place place{loadRelaxed(shm->icount), loadRelaxed(shm->vtime_ns),
                             loadRelaxed(shm->visits)};
    const std::vector<uint8_t>& frame = pulse_.next(place, nowNs, realtimeNs());
    link_->send(frame.data(), frame.size());
  }
  return pulse_.dueNs();
}

void Courier::command(Command command) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (command == Command::closeReceive) {
    if (receiver_) receiver_->close();
  } else if (shipper_) {
    switch (command) {
      case Command::flush: shipper_->flush(); break;
      case Command::stopSealing: shipper_->stop(); break;
      case Command::closeGate: shipper_->gate.close(); break;
      case Command::reopenGate: shipper_->gate.reopen(); break;
      case Command::closeReceive: break;
    }
  }
  nudge();
}

void Courier::detach(uint32_t term) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (shipper_) shipper_->detach(term);
  nudge();
}

void Courier::protect() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!shipper_) throw RingError("ERR_RING_STATE", "nothing is shipped: there are no outputs");
  shipper_->protect();
  nudge();
}

void Courier::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closing_ = true;
  if (shipper_) shipper_->stop();
  nudge();
}

std::vector<Event> Courier::takeEvents() {
  std::lock_guard<std::mutex> lock(mutex_);
  return events_.take();
}

Facts Courier::facts() {
  std::lock_guard<std::mutex> lock(mutex_);
  Facts f;
  if (shipper_) shipper_->tell(f);
  if (receiver_) receiver_->tell(f);
  if (image_) f.imageEpoch = image_->epoch();
  return f;
}

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
    if (receiver_ && receiver_->isFull()) return false;
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
      lock.unlock();
      const bool wrote = shipper_->log->append(batch.bytes, batch.count, fault);
      lock.lock();
      shipper_->written(wrote ? nullptr : &fault);
    } else {
      const Shipper::Read read = shipper_->reading();
      Backlog::Piece piece;
      std::string why;
      lock.unlock();
      const bool isRead = read.backlog->read(read.sequence, read.end, piece, why);
      lock.lock();
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
      lock.unlock();
      const bool done = receiver_->prepare(fault);
      lock.lock();
      receiver_->prepared(done ? nullptr : &fault);
      continue;
    }
    if (step != Receiver::Step::write) return step == Receiver::Step::done;
    const Receiver::Batches batches = receiver_->batches();
    WriteFault fault{};
    lock.unlock();
    const bool wrote = receiver_->log->append(batches.bytes, batches.count, fault);
    lock.lock();
    receiver_->written(wrote ? nullptr : &fault);
  }
}

void Courier::serveLink(std::unique_lock<std::mutex>& lock, bool readable) {
  if (!link_) return;
  if (receiver_ && !finishRound(lock)) return;
  bool hasMore = true;
  while (hasMore && !fault_ && !linkGone_ && (!receiver_ || receiver_->mayRead())) {
    hasMore = false;
    try {
      // Read before the hand-over, or left for the next round.
      if (link_->hasUnread()) hasMore = !takeFrames();
      if (!hasMore && readable && link_->read()) {
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
    until = std::min(until, keepBeating(now));
    if (link_ && link_->isEnding()) until = std::min(until, link_->endsNs());
    if (closing_) finishing();
    if (!ended_ && !aborting_) sleep(lock, std::min(until, now + kIdleNs), readable);
  }
  if (link_) link_->shut();
  link_.reset();
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
    const bool read = !fault_ && (!receiver_ || receiver_->mayRead());
    fds[2].events = static_cast<short>((read ? POLLIN : 0) |
                                       (link_->queuedBytes() > 0 ? POLLOUT : 0));
    // A socket that is shut reports POLLHUP for ever.
    if (!read && fds[2].events == 0) fds[2].fd = -1;
  }
  const uint64_t now = monotonicNs();
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
