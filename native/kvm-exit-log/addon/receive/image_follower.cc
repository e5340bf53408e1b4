// SPDX-License-Identifier: Apache-2.0
#include "receive/image_follower.h"

#include <cinttypes>
#include <cstring>
#include <new>
#include <system_error>

#include "bits/errors.h"
#include "bits/peer_error.h"
#include "state/piece.h"

namespace exitlog {

namespace {

[[noreturn]] void wrong(const std::string& what) {
  throw PeerError(kPeerProtocol, "the primary sent " + what);
}

bool isCutOf(const struct exitlog_record& record) {
  return isCut(record.kind, record.channel);
}

}  // namespace

// If the batch has a digest of its cut.
void ImageFollower::compare(const BatchView& batch) {
  const BatchHeader& header = batch.head.header;
  if (header.recordCount < 2) return;
  const struct exitlog_record record = recordAt(batch, header.recordCount - 2);
  struct exitlog_cut_digest digest;
  if (record.kind != EXITLOG_DIGEST || record.len != sizeof digest) return;
  memcpy(&digest, batch.data + (record.arg - header.dataBase), sizeof digest);
  check_.compare(digest);
}

void ImageFollower::takeState(const uint8_t* frame, size_t bytes) {
  Piece piece{};
  try {
    piece = readPiece(frame, bytes);
  } catch (const CorruptError& error) {
    wrong(format("a damaged piece of state: %s", error.what()));
  }
  if (piece.ordinal != ordinal_) {
    wrong(format("piece of state %" PRIu64 " where %" PRIu64 " is due", piece.ordinal, ordinal_));
  }
  ordinal_++;
  if (isStaged_) wrong("state of the next epoch before the end of this one");
  if (piece.part == EXITLOG_PART_END) {
    if (piece.epoch != image_->epoch() + 1) wrong("the end of another epoch");
    // Now: its batch is acknowledged before it is committed.
    if (!image_->isWhole()) wrong("an epoch that is not whole");
    isStaged_ = true;
    staged_ = piece.epoch;
    stagedAt_ = piece.offset;
    return;
  }
  stage(piece);
}

// An epoch of which something cannot be kept is never whole: nothing of it is kept.
void ImageFollower::stage(Piece piece) {
  try {
    if (piece.isPacked) {
      const std::vector<uint8_t>& patch = unpacker_.unpack(piece.data, piece.patchBytes);
      piece.data = patch.data();
      piece.patchBytes = patch.size();
      piece.isPacked = false;
    }
    image_->stage({piece.part, piece.flags(), piece.offset, piece.bytes, piece.epoch}, piece.data,
                  piece.dataBytes());
  } catch (const CorruptError& error) {
    wrong(error.what());
  } catch (const std::system_error&) {
    image_->drop();
    throw;
  } catch (const std::bad_alloc&) {
    image_->drop();
    throw;
  }
}

bool ImageFollower::isWhole(const BatchView& batch) {
  const uint32_t count = batch.head.header.recordCount;
  for (uint32_t i = 0; i + 1 < count; i++) {
    if (isCutOf(recordAt(batch, i))) wrong("a batch that goes on beyond the end of its epoch");
  }
  if (count == 0) return false;
  const struct exitlog_record last = recordAt(batch, count - 1);
  if (!isCutOf(last)) return false;
  if (last.kind == EXITLOG_END) {
    if (image_->refers()) wrong("the end of the log, and references without the rest of their epoch");
    return true;
  }
  const uint64_t at = batch.head.header.recordBase + count - 1;
  if (!isStaged_ || last.arg != staged_ || at != stagedAt_) {
    wrong(format("the end of epoch %" PRIu64 " without its state", last.arg));
  }
  return true;
}

bool ImageFollower::put(const BatchView& batch) {
  const BatchHeader& header = batch.head.header;
  if (header.recordCount == 0) return true;
  const struct exitlog_record last = recordAt(batch, header.recordCount - 1);
  if (last.kind == EXITLOG_END) image_->finish();
  if (last.kind != EXITLOG_CHECKPOINT || !isStaged_) return true;
  image_->commit(stagedAt_);
  compare(batch);
  filler_.hear(Position{header.horizonIcount, header.horizonVtimeNs});
  isStaged_ = false;
  return true;
}

}  // namespace exitlog
