// SPDX-License-Identifier: Apache-2.0
// An image is what its primary says, and what its epochs left there.
#pragma once

#include <cstdint>
#include <vector>

#include "image/image.h"

namespace exitlog {

class ImageCheck {
 public:
  // `wholeEvery`: all memory is read, from its first page to its last, each so many times; else
  // some pages, in turn; 0: never all. The image outlives this.
  ImageCheck(const Image& image, uint64_t wholeEvery)
      : image_(image), wholeEvery_(wholeEvery) {}

  // The image is as of the cut that this is the primary's digest of. Throws ImageDiffers, which
  // names the first thing that is not; std::system_error.
  void compare(const struct exitlog_cut_digest& digest);
  // How many cuts were compared, and equal.
  uint64_t compared() const { return compared_; }

 private:
  void equal(const char* what, uint64_t ours, uint64_t primarys) const;
  uint64_t lookAt(const Image::Block& block, uint64_t pages);
  void scrub();
  const Image& image_;
  const uint64_t wholeEvery_;
  uint64_t compared_ = 0;
  size_t block_ = 0;  // where `scrub` goes on
  uint64_t page_ = 0;
  std::vector<uint8_t> bytes_;
};

}  // namespace exitlog
