// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace exitlog {

// Where frames for a peer go.
class Outlet {
 public:
  virtual ~Outlet() = default;
  // Takes all of it. Never throws: what a broken connection has lost is found elsewhere.
  virtual void send(const uint8_t* bytes, size_t count) = 0;
  // The same, of what is of no use to the peer before what is sent after it.
  virtual void begin(const uint8_t* bytes, size_t count) { send(bytes, count); }
  // Taken, and not yet with the system.
  virtual size_t queuedBytes() const = 0;
  // It takes longer to get a byte across than to pack it.
  bool isSlow() const { return queuedBytes() > 0; }
};

}  // namespace exitlog
