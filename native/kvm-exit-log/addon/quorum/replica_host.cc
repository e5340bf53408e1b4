// SPDX-License-Identifier: Apache-2.0
#include "quorum/replica_host.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>
#include <utility>

#include "bits/clock.h"
#include "bits/errors.h"

namespace exitlog {

namespace {

int madeEventFd() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  return fd;
}

}  // namespace

const char* nameOf(quorum::Role role) {
  switch (role) {
    case quorum::Role::leader: return "leader";
    case quorum::Role::candidate: return "candidate";
    default: return "follower";
  }
}

ReplicaHost::ReplicaHost(ReplicaHostOptions options, std::function<void()> wakeJs)
    : options_(std::move(options)), nudgeFd_(madeEventFd()), files_(options_.dir),
      wakeJs_(std::move(wakeJs)), thread_([this] {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        pthread_setname_np(pthread_self(), "replica");
        run();
      }) {}

ReplicaHost::~ReplicaHost() {
  stop(0);
  thread_.join();
  ::close(nudgeFd_);
}

bool ReplicaHost::stop(uint64_t forNs) {
  std::unique_lock<std::mutex> lock(mutex_);
  ending_ = true;
  nudge();
  if (gone_.wait_for(lock, std::chrono::nanoseconds(forNs), [this] { return isGone_; })) return true;
  wakeJs_ = [] {};
  return false;
}

void ReplicaHost::nudge() {
  const uint64_t one = 1;
  if (write(nudgeFd_, &one, sizeof one) < 0) {
    // EAGAIN: it is readable anyway
  }
}

void ReplicaHost::leave(std::function<void()> command) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (isGone_) return;
  commands_.push_back(std::move(command));
  nudge();
}

void ReplicaHost::attach(uint64_t peer, std::unique_ptr<Link> link) {
  // A std::function has to be copied, a link cannot be.
  auto held = std::make_shared<std::unique_ptr<Link>>(std::move(link));
  leave([this, peer, held] { peers_->add(peer, std::move(*held)); });
}

void ReplicaHost::drop(uint64_t peer) {
  leave([this, peer] { peers_->drop(peer); });
}

void ReplicaHost::propose(quorum::Slice payload) {
  leave([this, payload] { replica_->submit(monotonicNs() / 1000000, {payload}); });
}

void ReplicaHost::transfer(uint64_t to) {
  leave([this, to] { replica_->transfer(monotonicNs() / 1000000, to); });
}

void ReplicaHost::run(std::shared_ptr<RingCore> core) {
  leave([this, core] {
    vm_ = std::make_unique<VmSide>(core, clock_, vmEvents_);
    for (const quorum::Slice& frame : early_) vm_->agreed(frame);
    early_.clear();
  });
}

void ReplicaHost::lead(const ShipOptions& options) {
  leave([this, options] {
    if (!vm_) return;
    try {
      vm_->lead(options);
    } catch (const RingError& error) {
      tell(ReplicaEventKind::broken, 0, error.what());
    }
  });
}

void ReplicaHost::flush() {
  leave([this] {
    if (vm_) vm_->flush();
  });
}

void ReplicaHost::letGo() {
  leave([this] {
    vm_.reset();
    keeps_ = false;
  });
}

Facts ReplicaHost::vmFacts() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return vmFacts_;
}

std::vector<ReplicaEvent> ReplicaHost::takeEvents() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(events_, {});
}

ReplicaFacts ReplicaHost::facts() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return facts_;
}

void ReplicaHost::tell(ReplicaEventKind kind, uint64_t number, std::string text, std::string more,
                       std::vector<uint8_t> bytes) {
  told_.push_back(
      ReplicaEvent{kind, number, std::move(text), std::move(more), std::move(bytes)});
}

// Under the lock.
void ReplicaHost::publish() {
  if (told_.empty()) return;
  const bool isFirst = events_.empty();
  for (ReplicaEvent& one : told_) events_.push_back(std::move(one));
  told_.clear();
  if (isFirst) wakeJs_();
}

}  // namespace exitlog
