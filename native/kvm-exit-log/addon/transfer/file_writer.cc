// SPDX-License-Identifier: Apache-2.0
#include "transfer/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "store/holes.h"

namespace exitlog {

FileWriter::~FileWriter() {
  for (const Part& part : parts_) close(part.fd);
}

void FileWriter::add(const Target& target) {
  parts_.push_back(Part{target.fd, false});
  intake_.add(target.bytes, target.covers);
}

FileWriter::Step FileWriter::write(const uint8_t* frame, size_t length) {
  if (frame != nullptr) piece_ = intake_.take(frame, length);
  const Part& part = parts_[piece_.part];
  if (!part.isOpen) return Step::shut;
  const auto offset = static_cast<off_t>(piece_.offset);
  const auto bytes = static_cast<off_t>(piece_.bytes);
  if (piece_.data == nullptr) {
    // What a guest has discarded is free on this side as well.
    zeroRange(part.fd, offset, bytes);
    return Step::written;
  }
  for (off_t done = 0; done < bytes;) {
    const ssize_t n = pwrite(part.fd, piece_.data + done, static_cast<size_t>(bytes - done),
                             offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "cannot write");
    done += n;
  }
  // Begun now, it is not all left to the fsync at the end.
  sync_file_range(part.fd, offset, bytes, SYNC_FILE_RANGE_WRITE);
  return Step::written;
}

}  // namespace exitlog
