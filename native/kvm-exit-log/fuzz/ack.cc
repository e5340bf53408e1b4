// SPDX-License-Identifier: Apache-2.0
// Acks, and the heartbeats that the courier answers itself.
#include "bits/ack.h"

#include "bits/heartbeat.h"
#include "bits/peer_error.h"
#include "fuzz.h"
#include "link/pulse.h"

namespace exitlog {

namespace {

void run(Input& in) {
  Pulse pulse;
  for (uint64_t now = 0; !in.isEmpty(); now += 1000) {
    const uint8_t mode = in.byte();
    std::vector<uint8_t> bytes = in.bytes(256);
    if ((mode & 1) != 0) sealControl(bytes, (mode & 2) != 0 ? kFrameAck : kFrameHeartbeat);
    const Exact frame(bytes);
    if ((mode & 2) != 0) {
      try {
        readAck(frame.data(), frame.size());
      } catch (const PeerError&) {
      }
      continue;
    }
    // Our own words are JavaScript's, which are whole.
    if ((mode & 4) != 0 && frame.size() >= sizeof(HeartbeatFrame)) {
      pulse.renew(frame.data(), frame.size(), 100, 1000, now);
    } else {
      pulse.heard(frame.data(), frame.size(), now);
    }
    Pulse::Heard heard;
    if (pulse.take(heard)) must(heard.frame.size() >= sizeof(HeartbeatFrame));
    if (pulse.dueNs() != UINT64_MAX) {
      const std::vector<uint8_t>& next = pulse.next({1, 2, 3}, now, now);
      touch(next.data(), next.size());
    }
  }
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
