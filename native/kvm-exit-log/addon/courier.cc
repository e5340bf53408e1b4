// SPDX-License-Identifier: Apache-2.0
#include "courier.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include "bits/clock.h"
#include "image/hand_over.h"
#include "receive/image_follower.h"
#include "receive/replay_follower.h"

namespace exitlog {

Courier::Courier(std::shared_ptr<RingCore> core, std::function<void()> wakeJs, uint64_t progressNs)
    : core_(std::move(core)), shm_(core_->shm), progressNs_(progressNs), events_(std::move(wakeJs)),
      nudgeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), syncer_(mutex_, [this] {
        nudge();
        goneChanged_.notify_one();
      }),
      roundNs_(monotonicNs()) {
  if (nudgeFd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  const auto begin = [this](const char* name, void (Courier::*run)()) {
    return std::thread([this, name, run] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      pthread_setname_np(pthread_self(), name);
      (this->*run)();
    });
  };
  thread_ = begin("courier", &Courier::run);
  pulseThread_ = begin("pulse", &Courier::beatOn);
}

bool Courier::stop(uint64_t forNs) {
  std::unique_lock<std::mutex> lock(mutex_);
  aborting_ = true;
  if (link_) link_->shut();
  nudge();
  pulseChanged_.notify_all();
  if (limits_.diskNs == 0) return true;
  const auto isDone = [this] { return isGone_ && diskSinceNs() == 0; };
  if (goneChanged_.wait_for(lock, std::chrono::nanoseconds(forNs), isDone)) return true;
  events_.mute();
  return false;
}

Courier::~Courier() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    aborting_ = true;
    if (link_) link_->shut();
    nudge();
    pulseChanged_.notify_all();
  }
  thread_.join();
  pulseThread_.join();
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
  lastWords_ = {};
  peerIsStuck_ = false;
  outstandingSeen_ = carriedSeen_ = carriedNs_ = 0;
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
  if (image_) {
    const char* text = getenv("EXITLOG_DIGEST_CHECK");  // as QEMU's digests have it
    const uint64_t wholeEvery = text == nullptr ? 0 : strtoul(text, nullptr, 10);
    follower = std::make_unique<ImageFollower>(image_, core_->filler, wholeEvery);
  } else {
    follower = std::make_unique<ReplayFollower>(shm_, core_->filler);
  }
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

void Courier::handOver(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!receiver_ || !image_) throw RingError("ERR_RING_STATE", "there is no image to hand over");
  const LogEnd end = receiver_->end();
  image_->drop();
  exitlog::handOver(*image_, fd);
  image_->leaveDisks();
  core_->filler.startAt(end.recordEnd, end.dataEnd);
}

void Courier::watch(const Limits& limits) {
  std::lock_guard<std::mutex> lock(mutex_);
  limits_ = limits;
  pulseChanged_.notify_one();
}

void Courier::lastWords(LastWords words) {
  std::lock_guard<std::mutex> lock(mutex_);
  lastWords_ = std::move(words);
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
  if (pulse_.dueNs() < before) pulseChanged_.notify_one();
}

bool Courier::heardBeat(Pulse::Heard& into) {
  std::lock_guard<std::mutex> lock(mutex_);
  return pulse_.take(into);
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
  if (events_.isFull()) nudge();
  return events_.take();
}

Facts Courier::facts() {
  std::lock_guard<std::mutex> lock(mutex_);
  Facts f;
  if (shipper_) shipper_->tell(f);
  if (receiver_) receiver_->tell(f);
  if (image_) f.imageEpoch = image_->epoch();
  const uint64_t now = monotonicNs();
  const uint64_t disk = diskSinceNs();
  if (disk != 0 && now > disk) f.awayNs = now - disk;
  const uint64_t still = now > roundNs_ ? now - roundNs_ : 0;
  if (isStuck_) f.stuckNs = f.awayNs > 0 ? f.awayNs : still;
  return f;
}

}  // namespace exitlog
