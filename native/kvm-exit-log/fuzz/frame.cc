// SPDX-License-Identifier: Apache-2.0
// Any frame: its prefix, its body's bounds, the shape and checksum of a control message.
#include "bits/frame.h"

#include "bits/errors.h"
#include "fuzz.h"

namespace exitlog {

void fuzz(Input& in) {
  const uint8_t mode = in.byte();
  const auto type = static_cast<uint16_t>(in.upTo(16));
  std::vector<uint8_t> bytes = in.rest();
  if ((mode & 1) != 0) sealPrefix(bytes, type);
  if ((mode & 2) != 0) sealControl(bytes, type);
  const Exact frame(bytes);
  if (frame.size() >= sizeof(FramePrefix)) {
    try {
      must(frameLength(frame.data()) <= sizeof(FramePrefix) + kBodyBytesMax);
    } catch (const CorruptError&) {
    }
  }
  const FrameView view = readFrame(frame.data(), frame.size());
  must(view.totalBytes <= frame.size());
  touch(view.body, view.prefix.bodyBytes);
  checkControl(view);
}

}  // namespace exitlog
