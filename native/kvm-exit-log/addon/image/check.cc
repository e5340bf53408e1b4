// SPDX-License-Identifier: Apache-2.0
#include "image/check.h"

#include <algorithm>
#include <cinttypes>

#include "bits/errors.h"
#include "exitlog_hash.h"

namespace exitlog {

namespace {

// As QEMU does in a digest: memory that changes without being written is found, though later.
constexpr uint64_t kScrubPages = 128;

}  // namespace

void ImageCheck::equal(const char* what, uint64_t ours, uint64_t primarys) const {
  if (ours == primarys) return;
  throw ImageDiffers(format("%s of the image differs from the primary's at the end of epoch %"
                            PRIu64 ": %016" PRIx64 " instead of %016" PRIx64, what, image_.epoch(),
                            ours, primarys));
}

// Pages of a block from `page_` on, as many as it has of these. @returns how many
uint64_t ImageCheck::lookAt(const Image::Block& block, uint64_t pages) {
  const uint64_t count = std::min({pages, block.terms.size() - page_, kScrubPages});
  bytes_.resize(count * Image::kPageBytes);
  image_.read(block, page_ * Image::kPageBytes, bytes_.size(), bytes_.data());
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t page = page_ + i;
    const uint64_t term = exitlog_hash_of(bytes_.data() + i * Image::kPageBytes, Image::kPageBytes,
                                          block.seed + page * EXITLOG_HASH_PAGE);
    if (term == block.terms[page]) continue;
    throw ImageDiffers(format("page %" PRIu64 " of %s in the image is not as epoch %" PRIu64
                              " left it", page, block.name.c_str(), image_.epoch()));
  }
  return count;
}

void ImageCheck::scrub() {
  uint64_t pages = kScrubPages;
  if (wholeEvery_ > 0 && compared_ % wholeEvery_ == 0) {
    pages = 0;
    for (const Image::Block& block : image_.blocks()) pages += block.terms.size();
  }
  for (size_t ends = 0; pages > 0 && ends <= image_.blocks().size();) {
    if (block_ >= image_.blocks().size()) block_ = 0;
    const Image::Block& block = image_.blocks()[block_];
    if (page_ < block.terms.size()) {
      const uint64_t count = lookAt(block, pages);
      page_ += count;
      pages -= count;
    } else {
      page_ = 0;
      block_++;
      ends++;
    }
  }
}

void ImageCheck::compare(const struct exitlog_cut_digest& digest) {
  equal("memory", image_.ramDigest(), digest.vm.ram);
  equal("the state of devices", exitlog_hash_of(image_.devices().data(), image_.devices().size(), 0),
        digest.shipped);
  scrub();
  compared_++;
}

}  // namespace exitlog
