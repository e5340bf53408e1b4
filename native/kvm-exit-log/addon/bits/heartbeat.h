// SPDX-License-Identifier: Apache-2.0
// The heartbeat (schema/wire.capnp, struct Heartbeat): where its words are.
// src/wire/heartbeat.ts writes and reads it; test/native/heartbeats.test.ts compares them.
#pragma once

#include "bits/frame.h"
#include "bits/layout.h"

namespace exitlog {

// The Heartbeat's data section, in order. One pointer follows, to the state's text.
struct HeartbeatBody {
  uint64_t checksum;
  uint64_t counter;
  uint64_t sentAtNs;
  uint64_t icount;
  int64_t vtimeNs;
  uint32_t term;
  uint32_t pad;
  uint64_t echoCounter;
  uint64_t echoSentAtNs;
  uint64_t visits;
};
constexpr uint64_t kHeartbeatWords = 9;
static_assert(sizeof(HeartbeatBody) == kHeartbeatWords * 8, "");

// What precedes the text.
struct HeartbeatFrame {
  FramePrefix prefix;
  uint64_t segmentTable;
  uint64_t rootPointer;
  HeartbeatBody body;
  uint64_t statePointer;
};
static_assert(sizeof(HeartbeatFrame) == 112, "");

}  // namespace exitlog
