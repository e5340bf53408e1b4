// SPDX-License-Identifier: Apache-2.0
// The replica's thread: what it does in turn, and what it waits for.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "bits/clock.h"
#include "bits/peer_error.h"
#include "quorum/replica_host.h"

namespace exitlog {

namespace {

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
  if (peers_) {
    for (const uint64_t id : peers_->ids()) peers_->drop(id);
  }
  replica_.reset();
  tell(ReplicaEventKind::ended, 0);
  const std::lock_guard<std::mutex> lock(mutex_);
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
}

// What others may know.
void ReplicaHost::look() {
  const uint64_t leader = replica_->leader();
  if (leader != toldLeader_) {
    toldLeader_ = leader;
    tell(ReplicaEventKind::leader, leader);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  facts_ = ReplicaFacts{replica_->role(), replica_->term(), leader, replica_->lastIndex(),
                        replica_->committedIndex(), peers_->ids()};
}

void ReplicaHost::sleep() {
  std::vector<struct pollfd> fds{{nudgeFd_, POLLIN, 0}};
  const std::vector<Peers::Wanted> wanted = peers_->wanted();
  for (const Peers::Wanted& one : wanted) fds.push_back({one.fd, one.events, 0});
  const uint64_t now = nowMs();
  const uint64_t due = replica_->deadlineMs();
  const bool isBusy = peers_->hasUnread();
  const int timeout = isBusy || due <= now ? 0 : static_cast<int>(std::min<uint64_t>(due - now, 1000));
  if (poll(fds.data(), fds.size(), timeout) <= 0) return;
  if (fds[0].revents != 0) drain(nudgeFd_);
  for (size_t i = 0; i < wanted.size(); i++) {
    if ((fds[i + 1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) readable_.push_back(wanted[i].id);
  }
}

void ReplicaHost::committed(uint64_t index, const quorum::Entry& entry) {
  if (!options_.tellsCommitted || entry.kind != quorum::Kind::batch) return;
  const uint8_t* bytes = entry.payload.bytes.get();
  tell(ReplicaEventKind::committed, index, {}, {}, {bytes, bytes + entry.payload.count});
}

void ReplicaHost::roleChanged(quorum::Role role, uint64_t term) {
  tell(ReplicaEventKind::role, term, nameOf(role));
}

}  // namespace exitlog
