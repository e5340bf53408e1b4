// SPDX-License-Identifier: Apache-2.0
#include "measure/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace quorum {

namespace {

constexpr size_t kStagedBytes = 64u << 10;
constexpr int kPartsMax = 64;

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

sockaddr_in addressOf(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Sockets::Sockets(uint64_t id, uint64_t replicas, uint16_t port, Heard heard)
    : heard_(std::move(heard)), id_(id) {
  epoll_ = checked(epoll_create1(EPOLL_CLOEXEC), "epoll");
  wake_ = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  checked(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event), "epoll");
  const int listener = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in own = addressOf(static_cast<uint16_t>(port + id));
  checked(bind(listener, reinterpret_cast<const sockaddr*>(&own), sizeof own), "bind");
  checked(listen(listener, 8), "listen");
  for (uint64_t other = 1; other < id; other++) dial(other, static_cast<uint16_t>(port + other));
  while (peers_.size() + 1 < replicas) {
    const int fd = checked(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
    uint64_t who = 0;
    if (recv(fd, &who, sizeof who, MSG_WAITALL) != sizeof who) throw std::runtime_error("hello");
    add(who, fd);
  }
  close(listener);
}

Sockets::~Sockets() {
  for (auto& [id, peer] : peers_) close(peer.fd);
  close(wake_);
  close(epoll_);
}

void Sockets::dial(uint64_t id, uint16_t port) {
  const sockaddr_in address = addressOf(port);
  for (int tries = 0;; tries++) {
    const int fd = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      if (::send(fd, &id_, sizeof id_, MSG_NOSIGNAL) != sizeof id_) throw std::runtime_error("hello");
      return add(id, fd);
    }
    close(fd);
    if (tries == 1000) throw std::runtime_error("a peer does not listen");
    usleep(10000);
  }
}

void Sockets::add(uint64_t id, int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  checked(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll");
  Peer& peer = peers_[id];
  peer.id = id;
  peer.fd = fd;
  peer.staged.resize(kStagedBytes);
}

void Sockets::send(uint64_t to, Packet packet) {
  const auto peer = peers_.find(to);
  if (peer == peers_.end() || peer->second.fd < 0) return;
  peer->second.out.push_back(std::move(packet));
  if (peer->second.out.size() == 1) write(peer->second);
}

void Sockets::write(Peer& peer) {
  while (!peer.out.empty()) {
    iovec parts[kPartsMax];
    int count = 0;
    size_t skipped = peer.sent;
    const Packet& first = peer.out.front();
    const auto add = [&](const void* bytes, size_t length) {
      const size_t skip = std::min(skipped, length);
      skipped -= skip;
      if (skip == length || count == kPartsMax) return;
      parts[count++] = {const_cast<uint8_t*>(static_cast<const uint8_t*>(bytes)) + skip, length - skip};
    };
    add(first.head.data(), first.head.size());
    for (const Slice& payload : first.payloads) add(payload.bytes.get(), payload.count);
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = static_cast<size_t>(count);
    const ssize_t put = sendmsg(peer.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno != EAGAIN) {
      close(peer.fd);
      peer.fd = -1;
      return;
    }
    if (put > 0) peer.sent += static_cast<size_t>(put);
    if (peer.sent == first.bytes()) {
      peer.sent = 0;
      peer.out.pop_front();
    } else if (put < 0) {
      break;
    }
  }
  if (peer.waits == !peer.out.empty()) return;
  peer.waits = !peer.out.empty();
  epoll_event event{};
  event.events = peer.waits ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 = peer.id;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, peer.fd, &event);
}

void Sockets::read(Peer& peer) {
  for (;;) {
    const bool isLarge = peer.large != nullptr;
    uint8_t* const into = isLarge ? peer.large.get() + peer.largeEnd : peer.staged.data() + peer.stagedEnd;
    const size_t room = isLarge ? peer.largeBytes - peer.largeEnd : peer.staged.size() - peer.stagedEnd;
    const ssize_t got = recv(peer.fd, into, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, peer.fd, nullptr);
      close(peer.fd);
      peer.fd = -1;
      return;
    }
    if (!isLarge) {
      peer.stagedEnd += static_cast<size_t>(got);
      take(peer);
    } else if ((peer.largeEnd += static_cast<size_t>(got)) == peer.largeBytes) {
      const Slice packet{std::move(peer.large), peer.largeBytes};
      peer.large.reset();
      heard_(peer.id, packet);
    }
    if (static_cast<size_t>(got) < room) return;
  }
}

// Whole packets of what is staged; what is longer goes on in memory of its own, uncopied.
void Sockets::take(Peer& peer) {
  size_t at = 0;
  while (peer.stagedEnd - at >= sizeof(PacketHead)) {
    PacketHead head{};
    memcpy(&head, peer.staged.data() + at, sizeof head);
    const size_t bytes = packetBytes(head);
    const size_t here = std::min(bytes, peer.stagedEnd - at);
    if (here < bytes && bytes <= peer.staged.size()) break;
    std::shared_ptr<uint8_t> memory(new uint8_t[bytes], std::default_delete<uint8_t[]>());
    memcpy(memory.get(), peer.staged.data() + at, here);
    at += here;
    if (here < bytes) {
      peer.large = std::move(memory);
      peer.largeBytes = bytes;
      peer.largeEnd = here;
    } else {
      heard_(peer.id, Slice{std::move(memory), bytes});
    }
  }
  memmove(peer.staged.data(), peer.staged.data() + at, peer.stagedEnd - at);
  peer.stagedEnd -= at;
}

void Sockets::wait(int timeoutMs) {
  epoll_event events[8];
  const int count = epoll_wait(epoll_, events, 8, timeoutMs);
  for (int i = 0; i < count; i++) {
    if (events[i].data.u64 == 0) {
      uint64_t value = 0;
      if (::read(wake_, &value, sizeof value) > 0) woken();
      continue;
    }
    Peer& peer = peers_[events[i].data.u64];
    if (peer.fd >= 0 && (events[i].events & EPOLLOUT) != 0) write(peer);
    if (peer.fd >= 0 && (events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) read(peer);
  }
}

}  // namespace quorum
