// SPDX-License-Identifier: Apache-2.0
// Pages of guest memory on their way to a backup: many become one STATE frame, which has what the
// backup does not have of them (bits/patch.h).
#pragma once

#include <cstdint>
#include <vector>

#include "bits/patch.h"
#include "ship/shadow.h"
#include "state/piece.h"

namespace exitlog {

class Patches {
 public:
  explicit Patches(uint64_t shadowBytes);

  // The backup has nothing of this memory, or there is none.
  void forget();
  // Whether that piece is of pages.
  static bool isOfPages(const struct exitlog_piece& piece);
  // Pages of it, from this one on. @returns the next one to be taken: before the last there has to
  // be a `take` first
  uint64_t add(const struct exitlog_piece& piece, const uint8_t* data, uint64_t page);
  // All of these are zeros now.
  void zero(const struct exitlog_piece& piece);

  // What is gathered, for `Piece::ordinal` to be set, at frame() + sizeof(StateHead). False: there
  // is nothing that the backup does not have. What is added next is of another frame.
  bool take(Piece& piece);
  // Valid until the next `add`.
  uint8_t* frame() { return frame_.data(); }
  bool isEmpty() const { return writer_.bytes() == 0; }
  uint64_t shadowBytes() const { return shadow_.bytes(); }

 private:
  bool follows(const struct exitlog_piece& piece, uint64_t offset) const;
  void begin(const struct exitlog_piece& piece, uint64_t offset);
  Shadow shadow_;
  PatchWriter writer_;
  std::vector<uint8_t> frame_;
  struct exitlog_piece range_{};  // what it is of so far; bytes 0: nothing
};

}  // namespace exitlog
