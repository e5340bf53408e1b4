// SPDX-License-Identifier: Apache-2.0
// The ack (schema/wire.capnp, struct Ack): writer and reader of its one layout.
// src/wire/ack.ts has the other; test/native/courier-receive.test.ts compares them.
#pragma once

#include <string>

#include "bits/frame.h"
#include "bits/layout.h"

namespace exitlog {

// The Ack's data section, in order; it has no pointers.
struct AckBody {
  uint64_t checksum;
  uint64_t sequence;
  uint64_t recordEnd;
  uint64_t executedIcount;
  int64_t executedVtimeNs;
  uint64_t sentAtNs;
  uint32_t term;
  uint8_t flags;
  uint8_t pad[3];
  uint64_t batchChecksum;
  uint64_t inPending;
};
constexpr uint64_t kAckWords = 9;
static_assert(sizeof(AckBody) == kAckWords * 8, "");
constexpr uint8_t kAckDurable = 1;
constexpr uint8_t kAckReady = 2;

struct AckFrame {
  FramePrefix prefix;
  uint64_t segmentTable;
  uint64_t rootPointer;
  AckBody body;
};
static_assert(sizeof(AckFrame) == 104, "");

// Everything but `body`, whose checksum is set too.
void sealAck(AckFrame& frame);

// Throws PeerError.
AckBody readAck(const uint8_t* bytes, size_t length);

// Throws PeerError: what a backup says it has is not so.
[[noreturn]] void wrongAck(const std::string& what);

}  // namespace exitlog
