// SPDX-License-Identifier: Apache-2.0
// The devices' state on its way to a backup: it comes whole at each cut, and little of it is
// another than at the one before.
#pragma once

#include <cstdint>
#include <vector>

#include "state/piece.h"

namespace exitlog {

class DevicePatches {
 public:
  // The backup has none.
  void forget() { backup_.clear(); }
  // Makes `piece`, which is whole, a patch of what the backup has, if that is less. Its data are
  // valid until the next one.
  void reduce(Piece& piece);

 private:
  std::vector<uint8_t> backup_;  // has this; whole pages, zeros at the end
  std::vector<uint8_t> now_;
  std::vector<uint8_t> patch_;
};

}  // namespace exitlog
