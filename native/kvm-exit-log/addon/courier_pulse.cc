// SPDX-License-Identifier: Apache-2.0
// The pulse: a thread that says that this side lives, as long as it does. That takes two
// signs, both of them: JavaScript has come back to renew its words (link/pulse.h), and the
// courier's thread makes progress. What stands still too long is told, on either side: a
// disk that hangs must not look like one that is only busy, nor like a dead host.
#include <algorithm>
#include <chrono>

#include "bits/clock.h"
#include "bits/errors.h"
#include "courier.h"

namespace exitlog {

namespace {

// How often to look whether something stands still.
constexpr uint64_t kLookNs = 100000000;
constexpr uint64_t kOverdueNs = 1000000000;
// Looks that are further apart are a stall of ours.
constexpr uint64_t kStallNs = 5 * kLookNs;
constexpr uint64_t kNsPerMs = 1000000;
// More than this on its way, and some of it arriving, is a transfer and no silence.
constexpr uint64_t kTransferBytes = 64u << 10;

unsigned long long msOf(uint64_t ns) { return ns / kNsPerMs; }

}  // namespace

void Courier::beatOn() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!aborting_ && !ended_) {
    const uint64_t now = monotonicNs();
    look(now);
    const uint64_t due = keepBeating(now);
    if (due == kNever && limits_.diskNs == 0) {
      pulseChanged_.wait(lock);
    } else {
      const uint64_t until = limits_.diskNs == 0 ? due : std::min(due, now + kLookNs);
      pulseChanged_.wait_for(lock, std::chrono::nanoseconds(until > now ? until - now : 0));
    }
  }
}

// What is queued is a sign of life already, once the peer reads it.
uint64_t Courier::keepBeating(uint64_t nowNs) {
  if (!link_ || linkGone_ || link_->isEnding() || isStuck_) return kNever;
  if (receiver_ && receiver_->pressed()) link_->excuse(nowNs);
  if (nowNs >= pulse_.dueNs()) {
    // But not for ever: that JavaScript is well is said by heartbeats alone.
    const bool isOverdue = nowNs > pulse_.dueNs() + kOverdueNs;
    if (link_->queuedBytes() > 0 && !isOverdue) return nowNs + kLookNs;
    const struct exitlog_shm* shm = shm_.header();
    const Pulse::Place place{loadRelaxed(shm->icount), loadRelaxed(shm->vtime_ns),
                             loadRelaxed(shm->visits)};
    const std::vector<uint8_t>& frame = pulse_.next(place, nowNs, realtimeNs());
    link_->send(frame.data(), frame.size());
    if (link_->queuedBytes() > 0) nudge();
  }
  return pulse_.dueNs();
}

// The oldest that is under way; 0: nothing is.
uint64_t Courier::diskSinceNs() const {
  uint64_t since = awaySinceNs_;
  for (const Log* log : {shipper_ ? shipper_->log.get() : nullptr,
                         receiver_ ? receiver_->log.get() : nullptr}) {
    if (log == nullptr || !log->syncing) continue;
    since = since == 0 ? log->syncingSinceNs : std::min(since, log->syncingSinceNs);
  }
  return since;
}

void Courier::look(uint64_t nowNs) {
  if (limits_.diskNs == 0 || closing_) return;
  // A process that was stopped as a whole, or a host, has not seen what moved meanwhile.
  if (lookedNs_ != 0 && nowNs > lookedNs_ + kStallNs) excusedNs_ = nowNs;
  lookedNs_ = nowNs;
  lookAtOwn(nowNs);
  lookAtPeer(nowNs);
}

void Courier::lookAtOwn(uint64_t nowNs) {
  const uint64_t since = diskSinceNs();
  const bool isDisk = since != 0 && nowNs > std::max(since, excusedNs_) + limits_.diskNs;
  const bool isCourier =
      awaySinceNs_ == 0 && nowNs > std::max(roundNs_, excusedNs_) + limits_.courierNs;
  const bool isControl =
      link_ && nowNs > std::max(pulse_.overNs(), excusedNs_ + limits_.courierNs);
  const bool wasStuck = isStuck_;
  isStuck_ = isDisk || isCourier || isControl;
  if (!isStuck_ || wasStuck) return;
  if (isDisk) {
    const char* what = awaySinceNs_ == since ? awayFor_ : "a sync of its log";
    sayStuck("disk", what, lastWords_.disk, nowNs - since);
  } else if (isCourier) {
    sayStuck("courier", "its courier", lastWords_.courier, nowNs - roundNs_);
  } else {
    sayStuck("control", "its control", lastWords_.control, nowNs - pulse_.renewedNs());
  }
}

void Courier::sayStuck(const char* kind, const char* what, const std::vector<uint8_t>& words,
                       uint64_t ns) {
  if (link_ && !linkGone_ && !words.empty()) link_->send(words.data(), words.size());
  events_.push(EventKind::stuck, kind,
               format("%s has made no progress for %llu ms", what, msOf(ns)));
}

void Courier::lookAtPeer(uint64_t nowNs) {
  if (!shipper_ || !link_ || linkGone_ || link_->isEnding() || isStuck_) return;
  const uint64_t carried = link_->carried();
  if (outstandingSeen_ > kTransferBytes && carried > carriedSeen_) carriedNs_ = nowNs;
  carriedSeen_ = carried;
  outstandingSeen_ = link_->outstanding();
  const uint64_t waits = shipper_->waitsForAckSinceNs();
  if (waits == 0 || peerIsStuck_) return;
  const uint64_t since = std::max({waits, carriedNs_, excusedNs_});
  if (nowNs <= since + limits_.ackNs) return;
  peerIsStuck_ = true;
  events_.push(EventKind::stuck, "acks",
               format("it has acknowledged nothing for %llu ms, and it lives", msOf(nowNs - since)));
}

}  // namespace exitlog
