// SPDX-License-Identifier: Apache-2.0
#include "link/pulse.h"

#include <algorithm>
#include <cstring>

#include "bits/checksum.h"
#include "bits/heartbeat.h"

namespace exitlog {

namespace {

HeartbeatFrame& headOf(std::vector<uint8_t>& frame) {
  return *reinterpret_cast<HeartbeatFrame*>(frame.data());
}

// Term and state: all that is not told anew each time.
bool sameWords(const std::vector<uint8_t>& a, const uint8_t* b, size_t length) {
  constexpr size_t kTermAt = offsetof(HeartbeatFrame, body) + offsetof(HeartbeatBody, term);
  constexpr size_t kTextAt = offsetof(HeartbeatFrame, statePointer);
  return a.size() == length && length >= sizeof(HeartbeatFrame) &&
         memcmp(a.data() + kTermAt, b + kTermAt, sizeof(HeartbeatBody::term)) == 0 &&
         memcmp(a.data() + kTextAt, b + kTextAt, length - kTextAt) == 0;
}

}  // namespace

void Pulse::renew(const uint8_t* frame, size_t length, uint64_t intervalNs, uint64_t forNs,
                  uint64_t nowNs) {
  if (!sameWords(frame_, frame, length)) {
    frame_.assign(frame, frame + length);
    dueNs_ = nowNs;
  }
  intervalNs_ = intervalNs;
  renewedNs_ = nowNs;
  untilNs_ = nowNs + forNs;
}

uint64_t Pulse::dueNs() const {
  return frame_.empty() || dueNs_ > untilNs_ ? UINT64_MAX : dueNs_;
}

const std::vector<uint8_t>& Pulse::next(const Place& place, uint64_t nowNs, uint64_t realtimeNs) {
  HeartbeatFrame& frame = headOf(frame_);
  counter_ = std::max(counter_, frame.body.counter) + 1;
  frame.body.counter = counter_;
  frame.body.sentAtNs = realtimeNs;
  frame.body.icount = place.icount;
  frame.body.vtimeNs = place.vtimeNs;
  frame.body.visits = place.visits;
  if (!heard_.frame.empty()) {
    const HeartbeatBody& peer = headOf(heard_.frame).body;
    frame.body.echoCounter = peer.counter;
    frame.body.echoSentAtNs = peer.sentAtNs;
  }
  const size_t bodyAt = offsetof(HeartbeatFrame, segmentTable);
  frame.body.checksum = controlChecksum(frame_.data() + bodyAt,
                                        static_cast<uint32_t>(frame_.size() - bodyAt));
  dueNs_ = nowNs + intervalNs_;
  return frame_;
}

bool Pulse::heard(const uint8_t* frame, size_t length, uint64_t realtimeNs) {
  const bool isKnown = sameWords(heard_.frame, frame, length);
  try {
    checkControl(readFrame(frame, length));
  } catch (const CorruptError&) {
    return false;
  }
  if (length < sizeof(HeartbeatFrame)) return false;
  heard_.frame.assign(frame, frame + length);
  heard_.atNs = realtimeNs;
  isTaken_ = !isKnown;
  return isKnown;
}

bool Pulse::take(Heard& into) {
  if (isTaken_) return false;
  isTaken_ = true;
  into = heard_;
  return true;
}

}  // namespace exitlog
