// SPDX-License-Identifier: Apache-2.0
#include "bits/ack.h"

#include <cstring>

#include "bits/checksum.h"
#include "bits/peer_error.h"

namespace exitlog {

void sealAck(AckFrame& frame) {
  constexpr uint32_t kBodyBytes = sizeof(AckFrame) - sizeof(FramePrefix);
  frame.prefix = FramePrefix{kFrameMagic, kFrameAck, 0, kBodyBytes, 0};
  frame.segmentTable = segmentTable(kBodyBytes);
  frame.rootPointer = structPointer(kAckWords, 0);
  const auto* body = reinterpret_cast<const uint8_t*>(&frame) + sizeof(FramePrefix);
  frame.body.checksum = controlChecksum(body, kBodyBytes);
  frame.prefix.crc = crc32(&frame.prefix, offsetof(FramePrefix, crc));
}

AckBody readAck(const uint8_t* bytes, size_t length) {
  try {
    checkControl(readFrame(bytes, length));
  } catch (const CorruptError& error) {
    throw PeerError(kPeerProtocol, format("the peer sent a damaged ack: %s", error.what()));
  }
  // A later version may have appended fields: the first ones stay where they are.
  AckFrame frame{};
  if (length >= sizeof frame) memcpy(&frame, bytes, sizeof frame);
  const bool here = static_cast<uint32_t>(frame.rootPointer) == 0 &&
                    (frame.rootPointer >> 32 & 0xffff) >= kAckWords;
  if (!here) throw PeerError(kPeerProtocol, "the peer sent an ack of another layout");
  return frame.body;
}

void wrongAck(const std::string& what) {
  throw PeerError(kPeerProtocol, "the backup acknowledged " + what);
}

}  // namespace exitlog
