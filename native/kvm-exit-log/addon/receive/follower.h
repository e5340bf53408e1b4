// SPDX-License-Identifier: Apache-2.0
// Who can take over: what a batch goes to once it is stored and acknowledged.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bits/frame.h"
#include "bits/layout.h"

namespace exitlog {

class Follower {
 public:
  virtual ~Follower() = default;

  // The log begins there: throws RingError where this one cannot follow from.
  virtual void checkStart(uint64_t recordEnd, uint64_t dataEnd) const = 0;
  // A verified batch, in its turn: whether it and those before may be stored and acknowledged;
  // else they wait for the next. Throws PeerError for one that this one can never take.
  virtual bool isWhole(const BatchView& batch) = 0;
  // A STATE frame. Throws PeerError.
  virtual void takeState(const uint8_t* frame, size_t bytes) = 0;

  // Before whole batches are acknowledged: whether there is something for `prepare` to do.
  virtual bool mustPrepare() const { return false; }
  // What came can be put from here on, whatever happens to this process. Called without the
  // courier's lock, by its thread or by the one that syncs the log: it may block. Throws
  // std::system_error.
  virtual void prepare() {}
  // A batch that is acknowledged. False: there is no room for it now. Throws ImageDiffers,
  // std::system_error: this one can follow no more.
  virtual bool put(const BatchView& batch) = 0;
  // Whether `put` has room for the batch in this verified frame.
  virtual bool hasRoomFor(const uint8_t* frame) const = 0;

  // How far it is. `received`: the log that is whole ends there.
  virtual Position executed(Position received) const = 0;
  // Records that it has still to execute.
  virtual uint64_t pending() const = 0;
  // Epochs whose end was compared with the primary's, and equal.
  virtual uint64_t compared() const { return 0; }
};

}  // namespace exitlog
