// SPDX-License-Identifier: Apache-2.0
#include "link/link.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "bits/clock.h"
#include "bits/frame.h"

namespace exitlog {

namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kBufferBytes = 2 * kReadBytes;
// From somebody whom we do not know yet.
constexpr size_t kStrangerReadBytes = 16 << 10;
constexpr size_t kQueueBytesHigh = 4u << 20;
// At a time: whole TLS records, and as much as a processor's cache has room for twice.
constexpr size_t kSealBytes = 64 << 10;
// A peer that does not read must not keep us.
constexpr uint64_t kEndNs = 1000000000;

constexpr const char* kWantsTls =
    "the peer speaks TLS, and this side has no [replication.tls] in VM.toml: it needs that too";

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

void Link::secure(std::shared_ptr<const Keys> keys, bool listens, std::string peerName) {
  tls_ = std::make_unique<Tls>(std::move(keys), listens, std::move(peerName), out_);
  early_.swap(out_);
}

void Link::connect(int fd) {
  fd_ = fd;
  heardNs_ = monotonicNs();
  if (tls_) tls_->start();
  else in_.resize(kBufferBytes);
}

void Link::shut() {
  shut_ = true;
  shutdown(fd_, SHUT_RDWR);
}

void Link::end() {
  if (isEnding()) return;
  endsNs_ = monotonicNs() + kEndNs;
  if (tls_ && early_.empty()) tls_->sayEnd();
  flush();
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

void Link::send(const uint8_t* bytes, size_t count) { put(bytes, count, 0); }

// It goes when it fills a segment, or with what comes next: one wake-up of the peer and not one
// for each piece of an epoch.
void Link::begin(const uint8_t* bytes, size_t count) { put(bytes, count, MSG_MORE); }

void Link::put(const uint8_t* bytes, size_t count, int flags) {
  if (shut_ || sendError_ != 0) return;
  putBytes_ += count;
  if (!tls_) {
    queue(bytes, count, flags);
  } else if (tls_->isOpen()) {
    tidy();
    // The peer opens what it has while the rest is sealed.
    for (; count > kSealBytes; bytes += kSealBytes, count -= kSealBytes) {
      tls_->write(bytes, kSealBytes);
      flush(MSG_MORE);
    }
    tls_->write(bytes, count);
    flush(flags);
  } else {
    early_.insert(early_.end(), bytes, bytes + count);
  }
}

// What the socket takes at once is not copied.
void Link::queue(const uint8_t* bytes, size_t count, int flags) {
  if (toWrite() == 0 && isConnected()) {
    const ssize_t sent = ::send(fd_, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
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
  tidy();
  out_.insert(out_.end(), bytes, bytes + count);
}

void Link::flush(int flags) {
  while (toWrite() > 0 && isConnected() && !shut_ && sendError_ == 0) {
    const ssize_t sent =
        ::send(fd_, out_.data() + outSent_, toWrite(), MSG_DONTWAIT | MSG_NOSIGNAL | flags);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) sendError_ = errno;
      break;
    }
    outSent_ += static_cast<size_t>(sent);
  }
  if (sendError_ != 0) {
    out_.clear();
    early_.clear();
    outSent_ = 0;
  }
  tidy();
}

// Room is given back in large pieces only: what is left has to be moved for it.
void Link::tidy() {
  if (toWrite() == 0) {
    out_.clear();
    outSent_ = 0;
  } else if (outSent_ > (1u << 20)) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(outSent_));
    outSent_ = 0;
  }
}

uint64_t Link::outstanding() const {
  int unacked = 0;
  if (!isConnected() || ioctl(fd_, SIOCOUTQ, &unacked) != 0) unacked = 0;
  return queuedBytes() + static_cast<uint64_t>(unacked);
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

// Bytes of the frame that comes next: at most 8 MiB, for its length was checked. Those of a prefix
// where that is not there, or is none: `next` says so, and may not have been asked yet.
uint64_t Link::frameDue() const {
  if (end_ - begin_ < sizeof(FramePrefix)) return sizeof(FramePrefix);
  try {
    return frameLength(in_.data() + begin_);
  } catch (const CorruptError&) {
    return sizeof(FramePrefix);
  }
}

bool Link::read() {
  const size_t have = end_ - begin_;
  const size_t room = isOpen() ? kReadBytes : kStrangerReadBytes;
  const size_t needed = std::max<size_t>(frameDue(), have + room + kRecordBytesMax);
  if (have == 0) begin_ = end_ = 0;
  if (in_.size() - begin_ < needed) {
    if (have > 0) memmove(in_.data(), in_.data() + begin_, have);
    begin_ = 0;
    end_ = have;
    // Larger than that at once: what is left of a frame would have to be moved at each reading.
    if (in_.size() < needed) in_.resize(std::max(needed, isOpen() ? kBufferBytes : 0));
  }
  if (tls_) sealed_.resize(room);
  const size_t got = receive(tls_ ? sealed_.data() : in_.data() + end_, room);
  if (got == 0) return false;
  if (tls_) unseal(got);
  else end_ += got;
  return true;
}

// 0: there is nothing.
size_t Link::receive(uint8_t* into, size_t room) {
  const ssize_t got = recv(fd_, into, room, MSG_DONTWAIT);
  if (got > 0) {
    heardNs_ = monotonicNs();
    unreadSeen_ = 0;
    return static_cast<size_t>(got);
  }
  if (got == 0) lost("the peer closed the connection");
  if (errno == EAGAIN || errno == EINTR) {
    if (sendError_ == 0) return 0;
    errno = sendError_;
  }
  const char* name = strerrorname_np(errno);
  lost(format("connection error %s", name == nullptr ? "EIO" : name));
}

// What is sealed is at least as long as what it says, but for one record's beginning that was
// kept: there is room.
void Link::unseal(size_t count) {
  try {
    tls_->take(sealed_.data(), count);
    while (const size_t said = tls_->read(in_.data() + end_, in_.size() - end_)) end_ += said;
  } catch (const PeerError& error) {
    // What was whole before it counts, and comes first.
    fault_ = std::make_unique<PeerError>(error);
    if (strcmp(error.code, kPeerLost) == 0) return;
    // It is to hear why: no reset.
    flush();
    sayEnd();
  }
  if (early_.empty() || !tls_->isOpen()) return;
  tls_->write(early_.data(), early_.size());
  std::vector<uint8_t>().swap(early_);
}

void Link::lost(const std::string& what) const {
  const size_t have = end_ - begin_;
  const uint64_t due = frameDue();
  std::string inside;
  if (have >= sizeof(FramePrefix) && have < due) {
    inside = format(", in the middle of a frame (%zu of %llu bytes)", have,
                    static_cast<unsigned long long>(due));
  } else if (have > 0 && have < due) {
    inside = format(", in the middle of a frame prefix (%zu of 16 bytes)", have);
  }
  if (tls_ && !tls_->isOpen()) inside = " in the TLS handshake";
  if (!tls_ && looksLikeTls(in_.data() + begin_, have)) {
    throw PeerError(kPeerUntrusted, kWantsTls);
  }
  throw PeerError(kPeerLost, what + inside);
}

bool Link::none() const {
  if (!fault_) return false;
  if (strcmp(fault_->code, kPeerLost) == 0) lost(fault_->what());
  throw PeerError(*fault_);
}

bool Link::next(Frame& frame) {
  const size_t have = end_ - begin_;
  const uint8_t* bytes = in_.data() + begin_;
  if (have < sizeof(FramePrefix)) return none();
  uint64_t length;
  try {
    length = frameLength(bytes);
  } catch (const CorruptError& error) {
    if (!tls_ && looksLikeTls(bytes, have)) {
      send(kNotUnderstood.data(), kNotUnderstood.size());
      sayEnd();
      throw PeerError(kPeerUntrusted, kWantsTls);
    }
    throw PeerError(kPeerProtocol,
                    std::string("the peer sent no frame of ours: ") + error.what() +
                        "; its bytes: " + shown(bytes, sizeof(FramePrefix)));
  }
  if (have < length) return none();
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
