// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "link/pulse.h"

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
  // Heartbeats, see Pulse.
  virtual void beat(const uint8_t* frame, size_t length, uint64_t intervalNs, uint64_t forNs) = 0;
  virtual bool heardBeat(Pulse::Heard& into) = 0;

 protected:
  ~Carrier() = default;
};

}  // namespace exitlog
