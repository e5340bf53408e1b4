// SPDX-License-Identifier: Apache-2.0
// The replica's thread: what it does in turn, and what it waits for.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "bits/clock.h"
#include "bits/errors.h"
#include "bits/peer_error.h"
#include "quorum/replica_host.h"

namespace exitlog {

namespace {

// Without a reason to look earlier: bounds what a missed wake-up could cost.
constexpr uint64_t kIdleNs = 100000000;

uint64_t nowMs() { return monotonicNs() / 1000000; }

void drain(int fd) {
  uint64_t count;
  if (read(fd, &count, sizeof count) < 0) {
    // EAGAIN: somebody else was first
  }
}

}  // namespace

void ReplicaHost::run() {
  try {
    serve();
  } catch (const std::exception& error) {
    tell(ReplicaEventKind::failed, 0, error.what());
  }
  // What is under way uses what is below it; and nobody hears of a replica that has ended.
  syncs_.reset();
  vm_.reset();
  if (peers_) {
    for (const uint64_t id : peers_->ids()) peers_->drop(id);
  }
  replica_.reset();
  tell(ReplicaEventKind::ended, 0);
  const std::lock_guard<std::mutex> lock(mutex_);
  publish();
  commands_.clear();
  facts_.role = quorum::Role::follower;
  facts_.connected.clear();
  isGone_ = true;
  gone_.notify_all();
}

void ReplicaHost::open() {
  peers_ = std::make_unique<Peers>(Peers::Events{
      [this](uint64_t from, const quorum::Slice& packet) {
        replica_->receive(nowMs(), from, packet);
        // After each: a leader that is heard of between two elections counts as well.
        watchLeader();
      },
      [this](uint64_t from, const std::string& code, const std::string& message) {
        tell(ReplicaEventKind::closed, from, code, message);
      }});
  syncs_ = std::make_unique<SyncThread>([this] { nudge(); });
  if (!options_.members.empty()) {
    quorum::Replica::bootstrap(files_, options_.replica, options_.members);
  }
  quorum::Host& host = *this;
  replica_ = std::make_unique<quorum::Replica>(files_, host, options_.replica);
  tell(ReplicaEventKind::opened, 0);
  replica_->start(nowMs());
}

void ReplicaHost::serve() {
  open();
  for (;;) {
    std::vector<std::function<void()>> commands;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (ending_) return;
      commands.swap(commands_);
    }
    for (const auto& command : commands) command();
    round();
    look();
    sleep();
  }
}

void ReplicaHost::round() {
  if (syncs_->takeDone()) replica_->synced(nowMs());
  peers_->serve(readable_);
  readable_.clear();
  if (nowMs() >= replica_->deadlineMs()) replica_->timeout(nowMs());
  if (vm_) serveVm();
}

void ReplicaHost::serveVm() {
  // Also one that has refused something, as while it gave the lead away.
  if (replica_->role() == quorum::Role::leader) vm_->goOn();
  else if (vm_->leads()) vm_->pause();
  vm_->awake();
  vmDueNs_ = vm_->pump();
  const std::vector<quorum::Slice> proposals = vm_->takeProposals();
  for (const quorum::Slice& one : proposals) {
    if (one.count <= quorum::kEntryBytesMax) continue;
    vm_->depose();
    tell(ReplicaEventKind::broken, 0, format("a record of the VM takes %zu bytes, more than can be "
                                             "agreed on at once", one.count));
    return;
  }
  if (proposals.empty() || replica_->submit(nowMs(), proposals)) return;
  vm_->pause();
  vm_->giveBack(proposals);
}

void ReplicaHost::watchLeader() {
  const uint64_t leader = replica_->leader();
  if (!vm_ || !vm_->leads() || vm_->isDeposed() || leader == 0 || leader == id()) return;
  vm_->depose();
  tell(ReplicaEventKind::deposed, leader);
}

// What others may know.
void ReplicaHost::look() {
  const uint64_t leader = replica_->leader();
  if (leader != toldLeader_) {
    toldLeader_ = leader;
    tell(ReplicaEventKind::leader, leader);
  }
  watchLeader();
  const bool leads = replica_->role() == quorum::Role::leader;
  if (leads && readyTerm_ != replica_->term() && replica_->committedIndex() >= readyIndex_) {
    readyTerm_ = replica_->term();
    tell(ReplicaEventKind::ready, readyTerm_);
  }
  for (Event& event : vmEvents_.take()) {
    if (event.kind == EventKind::console) {
      tell(ReplicaEventKind::console, 0, {}, {}, std::move(event.bytes));
    } else if (event.kind == EventKind::flushed) {
      tell(ReplicaEventKind::flushed, 0);
    } else if (event.kind == EventKind::broken) {
      tell(ReplicaEventKind::broken, 0, event.text);
    }
  }
  Facts vmFacts{};
  if (vm_) vm_->tell(vmFacts);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (vm_) vmFacts_ = vmFacts;
  facts_ = ReplicaFacts{replica_->role(), replica_->term(), leader, replica_->lastIndex(),
                        replica_->committedIndex(), peers_->ids()};
  publish();
}

void ReplicaHost::sleep() {
  std::vector<struct pollfd> fds{{nudgeFd_, POLLIN, 0}, {vm_ ? vm_->notifyFd() : -1, POLLIN, 0}};
  constexpr size_t kOwn = 2;
  const std::vector<Peers::Wanted> wanted = peers_->wanted();
  for (const Peers::Wanted& one : wanted) fds.push_back({one.fd, one.events, 0});
  uint64_t due = std::min(replica_->deadlineMs() * 1000000, monotonicNs() + kIdleNs);
  if (vm_) due = std::min(due, vmDueNs_);
  if (peers_->hasUnread() || (vm_ && !vm_->maySleep())) due = 0;
  const uint64_t now = monotonicNs();
  const uint64_t wait = due > now ? due - now : 0;
  const struct timespec timeout{static_cast<time_t>(wait / 1000000000u),
                                static_cast<long>(wait % 1000000000u)};
  if (ppoll(fds.data(), fds.size(), &timeout, nullptr) <= 0) return;
  if (fds[0].revents != 0) drain(nudgeFd_);
  if (fds[1].revents != 0) vm_->tookNotice();
  for (size_t i = 0; i < wanted.size(); i++) {
    if ((fds[i + kOwn].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      readable_.push_back(wanted[i].id);
    }
  }
}

void ReplicaHost::committed(uint64_t index, const quorum::Entry& entry) {
  if (entry.kind == quorum::Kind::batch) take(index, entry);
}

void ReplicaHost::take(uint64_t index, const quorum::Entry& entry) {
  if (!isBatchFrame(entry.payload)) {
    const uint8_t* bytes = entry.payload.bytes.get();
    tell(ReplicaEventKind::committed, index, {}, {}, {bytes, bytes + entry.payload.count});
  } else if (vm_) {
    vm_->agreed(entry.payload);
  } else if (keeps_) {
    early_.push_back(entry.payload);
  }
}

void ReplicaHost::roleChanged(quorum::Role role, uint64_t term) {
  // Whatever an earlier leader may have let go is in what this one has by now (libraft has appended
  // a barrier if it did not know all of that to be agreed on).
  if (role == quorum::Role::leader) readyIndex_ = replica_->lastIndex();
  tell(ReplicaEventKind::role, term, nameOf(role));
}

}  // namespace exitlog
