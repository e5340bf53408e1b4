// SPDX-License-Identifier: Apache-2.0
// A backup that executes nothing: an image of the VM, changed by whole epochs only.
#pragma once

#include <memory>

#include "image/check.h"
#include "image/image.h"
#include "receive/follower.h"
#include "ring/fill.h"
#include "state/packed.h"
#include "state/piece.h"

namespace exitlog {

class ImageFollower final : public Follower {
 public:
  // `filler`: of the QEMU that waits beside it, which hears what time it is in the guest.
  // `wholeEvery`: ImageCheck's.
  ImageFollower(std::shared_ptr<Image> image, Filler& filler, uint64_t wholeEvery)
      : image_(std::move(image)), filler_(filler), check_(*image_, wholeEvery) {}
  void checkStart(uint64_t, uint64_t) const override {}
  bool isWhole(const BatchView& batch) override;
  void takeState(const uint8_t* frame, size_t bytes) override;
  bool mustPrepare() const override { return image_->mustPrepare(); }
  void prepare() override { image_->prepare(); }
  bool put(const BatchView& batch) override;
  bool hasRoomFor(const uint8_t*) const override { return true; }
  // Its state is here: to apply it takes no longer than to say so.
  Position executed(Position received) const override { return received; }
  uint64_t pending() const override { return 0; }
  uint64_t compared() const override { return check_.compared(); }

 private:
  void stage(Piece piece);
  void compare(const BatchView& batch);
  const std::shared_ptr<Image> image_;
  Filler& filler_;
  ImageCheck check_;
  Unpacker unpacker_;
  uint64_t ordinal_ = 0;  // of the next piece
  bool isStaged_ = false;  // an epoch is, to its end
  uint64_t staged_ = 0;    // its number, and the ordinal of its CHECKPOINT record
  uint64_t stagedAt_ = 0;
};

}  // namespace exitlog
