// SPDX-License-Identifier: Apache-2.0
// What an epoch consists of, as STATE frames: from QEMU's ring of state to a backup, in its
// order, before the batch whose CHECKPOINT ends it, and the next epoch's after that batch.
//
// What the guest writes to its disks while a backup still copies them waits in a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bits/facts.h"
#include "link/outlet.h"
#include "ring/state_ring.h"
#include "store/spool.h"

namespace exitlog {

class States {
 public:
  explicit States(const Shm& shm) : shm_(shm), ring_(shm) {}

  // From the next image that QEMU begins on, all is kept for the backup that comes next, in
  // this folder. Throws std::system_error.
  void keep(const std::string& dir);
  // Nobody comes.
  void forget() { spool_.reset(); }
  // A backup comes. Throws RingError where something that it needs could not be kept.
  void checkKept() const;

  // What there is, to the backup, while it reads quickly enough; null: there is none.
  // `isSent`: all that was sealed has been sent.
  // Throws RingError if QEMU broke a rule of the ring, PeerError where what was kept cannot be
  // read: the backup has to come again.
  void pump(Outlet* to, bool isSent);
  // The rest of the epoch, whose CHECKPOINT is in OUT: all of it is in the ring before.
  void finish(Outlet* to);
  // QEMU may have to wait for room soon.
  bool isFilling() const;
  void tell(Facts& facts) const;

 private:
  bool next();
  void put(Outlet* to);
  bool drainSpool(Outlet* to, bool all);
  const Shm& shm_;
  StateRing ring_;
  std::unique_ptr<Spool> spool_;
  std::string lost_;  // why what should have been kept was not
  std::vector<uint8_t> frame_;
  uint64_t frameBytes_ = 0;
  bool isOfDisk_ = false;   // the frame
  uint64_t bytes_ = 0;      // of all frames that are for a backup, and of disks' among them
  uint64_t diskBytes_ = 0;
  uint64_t ordinal_ = 0;
  bool hasBegun_ = false;  // an image has; what came before is of none
  bool hasEnded_ = false;  // the epoch has
  bool isSealed_ = false;  // its batch is
};

}  // namespace exitlog
