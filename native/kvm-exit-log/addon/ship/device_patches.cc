// SPDX-License-Identifier: Apache-2.0
#include "ship/device_patches.h"

#include "bits/patch.h"

namespace exitlog {

void DevicePatches::reduce(Piece& piece) {
  const uint64_t room = (piece.bytes + kPageBytes - 1) & ~(kPageBytes - 1);
  const bool isPart = piece.offset != 0 || piece.bytes == kStateDataBytesMax;
  if (isPart) return forget();
  now_.assign(piece.data, piece.data + piece.bytes);
  now_.resize(room);
  if (backup_.empty()) {
    backup_.swap(now_);
    return;
  }
  backup_.resize(piece.bytes);  // so does who applies it
  backup_.resize(room);
  patch_.resize(room / kPageBytes * kPatchPageBytesMax + sizeof(uint64_t));
  PatchWriter writer;
  writer.begin(patch_.data());
  for (uint64_t at = 0; at < room; at += kPageBytes) {
    writer.difference(now_.data() + at, backup_.data() + at);
  }
  if (writer.bytes() == 0 || writer.bytes() >= piece.bytes) return;
  piece.data = patch_.data();
  piece.patchBytes = writer.bytes();
}

}  // namespace exitlog
