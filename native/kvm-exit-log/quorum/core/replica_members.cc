// SPDX-License-Identifier: Apache-2.0
// Replicas that are added, removed, and get a vote.
#include <algorithm>

#include "core/replica.h"

namespace quorum {

namespace {

const Member* memberOf(const std::vector<Member>& all, uint64_t id) {
  const auto found = std::find_if(all.begin(), all.end(),
                                  [id](const Member& one) { return one.id == id; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

std::vector<Member> Replica::members() const { return membersOf(raft_.configuration); }

bool Replica::isChanging() const {
  return raft_.configuration_uncommitted_index != 0 || promoting_ != 0;
}

bool Replica::change(uint64_t nowMs, const std::vector<Member>& wanted) {
  const Slice payload = Configuration(wanted).encoded();
  return submitAll(nowMs, {madeEntry(term(), Kind::change, payload)}) == Answer::done;
}

bool Replica::add(uint64_t nowMs, const Member& member) {
  if (role() != Role::leader || isChanging()) return false;
  std::vector<Member> wanted = members();
  if (memberOf(wanted, member.id) == nullptr) {
    wanted.push_back(Member{member.id, member.address, false});
    if (!change(nowMs, wanted)) return false;
  }
  promoting_ = member.id;
  isTrying_ = false;
  settle(nowMs);
  return true;
}

bool Replica::remove(uint64_t nowMs, uint64_t id) {
  if (role() != Role::leader || isChanging()) return false;
  std::vector<Member> wanted = members();
  const auto last = std::remove_if(wanted.begin(), wanted.end(),
                                   [id](const Member& one) { return one.id == id; });
  if (last == wanted.end() || last == wanted.begin()) return false;
  wanted.erase(last, wanted.end());
  const bool isDone = change(nowMs, wanted);
  settle(nowMs);
  return isDone;
}

// A replica that was added votes when it has all but the last entries: else a majority could
// have to wait for it to get the whole log.
void Replica::promote(uint64_t nowMs) {
  if (promoting_ == 0) return;
  std::vector<Member> wanted = members();
  const Member* const member = memberOf(wanted, promoting_);
  if (role() != Role::leader || member == nullptr || member->isVoter) {
    promoting_ = 0;
    return;
  }
  if (raft_.configuration_uncommitted_index != 0) return;
  int status = RAFT_CATCH_UP_NONE;
  raft_index match = 0;
  raft_catch_up(&raft_, promoting_, &status);
  raft_match_index(&raft_, promoting_, &match);
  if (status == RAFT_CATCH_UP_RUNNING) return;
  if (status == RAFT_CATCH_UP_ABORTED && isTrying_) {
    // It has not answered. It stays without a vote until somebody adds it once more.
    promoting_ = 0;
    return;
  }
  if (status != RAFT_CATCH_UP_FINISHED && match < log_->lastIndex()) {
    raft_event event{};
    event.type = RAFT_CATCH_UP;
    event.catch_up.server_id = promoting_;
    isTrying_ = true;
    step(nowMs, event);
    return;
  }
  for (Member& one : wanted) one.isVoter = one.isVoter || one.id == promoting_;
  if (change(nowMs, wanted)) promoting_ = 0;
}

}  // namespace quorum
