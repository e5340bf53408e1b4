// SPDX-License-Identifier: Apache-2.0
#include "link/link.h"

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bits/clock.h"
#include "bits/frame.h"

namespace exitlog {

namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kBufferBytes = 2 * kReadBytes;
constexpr size_t kQueueBytesHigh = 4u << 20;
// A peer that does not read must not keep us.
constexpr uint64_t kEndNs = 1000000000;

// What somebody else's protocol looks like, for the message.
std::string shown(const uint8_t* bytes, size_t count) {
  std::string hex;
  std::string text;
  for (size_t i = 0; i < count; i++) {
    hex += format("%02x", bytes[i]);
    text += bytes[i] >= 0x20 && bytes[i] < 0x7f ? static_cast<char>(bytes[i]) : '.';
  }
  return hex + " \"" + text + "\"";
}

}  // namespace

Link::~Link() {
  if (isConnected()) close(fd_);
}

void Link::connect(int fd) {
  fd_ = fd;
  in_.resize(kBufferBytes);
  heardNs_ = monotonicNs();
}

void Link::shut() {
  shut_ = true;
  shutdown(fd_, SHUT_RDWR);
}

void Link::end() {
  if (isEnding()) return;
  endsNs_ = monotonicNs() + kEndNs;
  if (queuedBytes() == 0) sayEnd();
}

bool Link::hasEnded() {
  if (!isEnding() || (queuedBytes() > 0 && monotonicNs() <= endsNs_)) return false;
  sayEnd();
  return true;
}

void Link::sayEnd() {
  shut_ = true;
  shutdown(fd_, SHUT_WR);
  // What is unread when the descriptor is closed would reset the connection, and with
  // it what the peer has not read yet. Frames in our buffer may still be in use. Not more
  // than any buffer holds: it may send as fast as we read.
  uint8_t unread[16 << 10];
  for (int reads = 0; reads < 1024; reads++) {
    if (recv(fd_, unread, sizeof unread, MSG_DONTWAIT) <= 0) break;
  }
}

void Link::send(const uint8_t* bytes, size_t count) {
  if (shut_ || sendError_ != 0) return;
  if (queuedBytes() == 0 && isConnected()) {
    const ssize_t sent = ::send(fd_, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      sendError_ = errno;
      return;
    }
    if (sent > 0) {
      bytes += sent;
      count -= static_cast<size_t>(sent);
    }
  }
  if (count == 0) return;
  if (outSent_ > 0 && outSent_ == out_.size()) {
    out_.clear();
    outSent_ = 0;
  }
  out_.insert(out_.end(), bytes, bytes + count);
}

void Link::flush() {
  while (queuedBytes() > 0 && isConnected() && !shut_ && sendError_ == 0) {
    const ssize_t sent =
        ::send(fd_, out_.data() + outSent_, queuedBytes(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) sendError_ = errno;
      break;
    }
    outSent_ += static_cast<size_t>(sent);
  }
  if (sendError_ != 0 || queuedBytes() == 0) {
    out_.clear();
    outSent_ = 0;
  } else if (outSent_ > (1u << 20)) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(outSent_));
    outSent_ = 0;
  }
}

bool Link::hasRoom() {
  if (queuedBytes() <= kQueueBytesHigh) return true;
  drainWanted_ = true;
  return false;
}

bool Link::drained() {
  if (!drainWanted_ || queuedBytes() > 0) return false;
  drainWanted_ = false;
  return true;
}

bool Link::read() {
  const size_t have = end_ - begin_;
  // A frame's length was checked before we make room for it: at most 8 MiB.
  const uint64_t wanted =
      have >= sizeof(FramePrefix) ? frameLength(in_.data() + begin_) : sizeof(FramePrefix);
  const size_t needed = std::max<size_t>(wanted, have + kReadBytes);
  if (have == 0) begin_ = end_ = 0;
  if (in_.size() - begin_ < needed) {
    memmove(in_.data(), in_.data() + begin_, have);
    begin_ = 0;
    end_ = have;
    if (in_.size() < needed) in_.resize(needed);
  }
  const ssize_t got = recv(fd_, in_.data() + end_, kReadBytes, MSG_DONTWAIT);
  if (got > 0) {
    heardNs_ = monotonicNs();
    unreadSeen_ = 0;
    end_ += static_cast<size_t>(got);
    return true;
  }
  if (got == 0) lost("the peer closed the connection");
  if (errno == EAGAIN || errno == EINTR) {
    if (sendError_ == 0) return false;
    errno = sendError_;
  }
  const char* name = strerrorname_np(errno);
  lost(format("connection error %s", name == nullptr ? "EIO" : name));
}

void Link::lost(const std::string& what) const {
  const size_t have = end_ - begin_;
  std::string inside;
  if (have >= sizeof(FramePrefix)) {
    inside = format(", in the middle of a frame (%zu of %llu bytes)", have,
                    static_cast<unsigned long long>(frameLength(in_.data() + begin_)));
  } else if (have > 0) {
    inside = format(", in the middle of a frame prefix (%zu of 16 bytes)", have);
  }
  throw PeerError(kPeerLost, what + inside);
}

bool Link::next(Frame& frame) {
  const size_t have = end_ - begin_;
  const uint8_t* bytes = in_.data() + begin_;
  if (have < sizeof(FramePrefix)) return false;
  uint64_t length;
  try {
    length = frameLength(bytes);
  } catch (const CorruptError& error) {
    throw PeerError(kPeerProtocol,
                    std::string("the peer sent no frame of ours: ") + error.what() +
                        "; its bytes: " + shown(bytes, sizeof(FramePrefix)));
  }
  if (have < length) return false;
  FramePrefix prefix;
  memcpy(&prefix, bytes, sizeof prefix);
  frame = Frame{bytes, static_cast<size_t>(length), prefix.type};
  begin_ += static_cast<size_t>(length);
  return true;
}

// Bytes that wait while we do not read (a disk that blocks, back-pressure) are signs
// of life as well: more of them than the last time means that the peer lives.
uint64_t Link::heardNs() {
  int unread = 0;
  if (ioctl(fd_, FIONREAD, &unread) == 0 && unread > unreadSeen_) {
    unreadSeen_ = unread;
    heardNs_ = monotonicNs();
  }
  return heardNs_;
}

}  // namespace exitlog
