// SPDX-License-Identifier: Apache-2.0
// What a journal says is done again: for whoever starts from the disks of an image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

struct Redone {
  bool found = false;    // a journal; it is gone now
  uint64_t epochs = 0;   // were written again
  uint64_t last = 0;     // of them: its number
  bool dropped = false;  // the end of one that was never acknowledged
};

// The disks are synced and at an epoch afterwards. Idempotent, also when it was cut short. Throws
// CorruptError for a journal that is damaged, of other disks, or of no use since the host's
// crash: nothing is written then. Throws std::system_error.
Redone redoDisks(const std::vector<std::string>& images);

}  // namespace exitlog
