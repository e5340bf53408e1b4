// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace exitlog {

// Who reads and writes a link instead of the event loop: a thread of its own.
class Carrier {
 public:
  // False: the send queue is long, wait for `drained`.
  virtual bool send(const uint8_t* bytes, size_t count) = 0;
  // Sends what is queued, within a second, then closes.
  virtual void endLink() = 0;
  virtual void dropLink() = 0;
  virtual uint64_t heardNs() = 0;

 protected:
  ~Carrier() = default;
};

}  // namespace exitlog
