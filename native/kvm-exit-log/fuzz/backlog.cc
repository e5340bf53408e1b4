// SPDX-License-Identifier: Apache-2.0
// Segments that a daemon reads back for a backup, from anywhere in them. Each batch that is read is
// the next, and whole as far as its prefix says.
#include "store/backlog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "bits/errors.h"
#include "bits/frame.h"
#include "fuzz.h"
#include "store/segment.h"

namespace exitlog {

namespace {

class Folder {
 public:
  Folder() {
    char name[] = "/dev/shm/understudy-fuzz-XXXXXX";
    must(mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() {
    for (uint64_t i = 1; i < 4; i++) unlink(Segment::pathOf(path_, i).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  void write(uint64_t index, const std::vector<uint8_t>& bytes) const {
    const int fd = open(Segment::pathOf(path_, index).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    close(fd);
  }

 private:
  std::string path_;
};

uint64_t sequenceOf(const uint8_t* frame) {
  BatchHead head;
  memcpy(&head, frame + sizeof(FramePrefix), sizeof head);
  return head.header.sequence;
}

std::vector<uint8_t> segmentOf(Input& in, uint64_t& sequence) {
  std::vector<uint8_t> all;
  for (uint64_t frames = in.upTo(4); frames > 0; frames--) {
    const uint8_t mode = in.byte();
    std::vector<uint8_t> frame = in.bytes(300);
    if ((mode & 1) != 0) sealControl(frame, 8);
    if ((mode & 6) != 0) {
      sealBatch(frame, true);
      const uint64_t number = (mode & 8) != 0 ? in.edge(sequence) : sequence++;
      memcpy(&frame[sizeof(FramePrefix) + offsetof(BatchHead, header.sequence)], &number, 8);
      sealBatch(frame, true);
    }
    frame.resize(frame.size() - (mode >= 250 ? in.upTo(frame.size()) : 0));
    all.insert(all.end(), frame.begin(), frame.end());
  }
  return all;
}

}  // namespace

void fuzz(Input& in) {
  static const Folder folder;
  uint64_t sequence = in.number(1);
  uint64_t wanted = in.byte() == 1 ? in.edge(sequence) : sequence;
  const uint64_t from = in.byte() == 1 ? in.upTo(600) : 0;
  for (uint64_t i = 1; i < 4; i++) folder.write(i, segmentOf(in, sequence));
  FileBacklog backlog(folder.path(), LogPlace{1, from});
  const uint64_t end = in.byte() == 1 ? in.edge(sequence) : sequence;
  for (int reads = 0; reads < 8; reads++) {
    Backlog::Piece piece;
    std::string why;
    if (!backlog.read(wanted, end, piece, why)) {
      must(!why.empty());
      return;
    }
    for (size_t at = 0; at < piece.count;) {
      must(frameLength(piece.bytes + at) <= piece.count - at);
      must(sequenceOf(piece.bytes + at) == wanted++);
      touch(piece.bytes + at, frameLength(piece.bytes + at));
      at += frameLength(piece.bytes + at);
    }
    must(piece.end == wanted);
  }
}

}  // namespace exitlog
