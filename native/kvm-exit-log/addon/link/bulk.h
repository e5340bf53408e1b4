// SPDX-License-Identifier: Apache-2.0
// Frames that the addon makes and takes by itself, on a link that the event loop has. All
// calls come from the event loop.
#pragma once

#include <cstddef>
#include <cstdint>

namespace exitlog {

// Who has more to send, when there is room.
class Feeder {
 public:
  // The link's queue is empty.
  virtual void hasRoom() = 0;
  // The link is over, or goes to a carrier: it is not to be called any more.
  virtual void linkGone() = 0;

 protected:
  ~Feeder() = default;
};

// Who takes STATE frames, before JavaScript sees them.
class Taker {
 public:
  // While false nothing is read, of whatever type: the order stays.
  virtual bool mayTake() const = 0;
  virtual void take(const uint8_t* frame, size_t length) = 0;
  virtual void linkGone() = 0;

 protected:
  ~Taker() = default;
};

}  // namespace exitlog
