// SPDX-License-Identifier: Apache-2.0
// What an epoch consists of, as STATE frames: from QEMU's ring of state to a backup, in its
// order, before the batch whose CHECKPOINT ends it, and the next epoch's after that batch.
//
// A backup gets what it does not have of the guest's memory (patches.h) and of its devices' state
// (device_patches.h). What the guest writes to
// its disks while a backup still copies them waits in a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "link/outlet.h"
#include "ring/state_ring.h"
#include "ship/device_patches.h"
#include "ship/patches.h"
#include "state/packed.h"
#include "store/spool.h"

namespace exitlog {

class States {
 public:
  explicit States(const Shm& shm);

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
  // What was kept is still to be sent: nothing may be finished before.
  bool isBehind(const Outlet* to) const { return to != nullptr && spool_ != nullptr; }
  // The rest of the epoch, whose CHECKPOINT is in OUT: all of it is in the ring before.
  void finish(Outlet* to);
  // QEMU may have to wait for room soon.
  bool isFilling() const;

  // What was sent or kept of all images: bytes of frames; of these, those of memory, and those of disks; and pages of
  // memory that QEMU put for them.
  struct Sent {
    uint64_t bytes = 0;
    uint64_t memoryBytes = 0;
    uint64_t diskBytes = 0;
    uint64_t pages = 0;
    uint64_t shadowBytes = 0;  // memory that it takes to know what the backup has
  };
  Sent sent() const;

 private:
  bool next();
  void begin();
  void forgetBackup();
  bool gather(const StateRing::Piece& taken);
  bool sealGathered();
  void pack(Piece& piece);
  void sealOne(const StateRing::Piece& taken);
  void skip();
  void put(Outlet* to);
  bool hasRoom(const Outlet* to);
  bool drainSpool(Outlet* to);
  const Shm& shm_;
  StateRing ring_;
  Patches patches_;
  DevicePatches devices_;
  Packer packer_;
  bool isSlow_ = false;  // the link is
  uint64_t page_ = 0;  // of the piece that comes next, those before are gathered
  std::unique_ptr<Spool> spool_;
  std::string lost_;  // why what should have been kept was not
  std::vector<uint8_t> buffer_;
  const uint8_t* frame_ = nullptr;  // the one that was made last
  uint64_t frameBytes_ = 0;
  Sent sent_;
  bool isOfDisk_ = false;  // the frame
  uint64_t ordinal_ = 0;
  bool hasBegun_ = false;  // an image has; what came before is of none
  bool hasEnded_ = false;  // the epoch has
  bool isSealed_ = false;  // its batch is
};

}  // namespace exitlog
