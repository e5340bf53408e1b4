// SPDX-License-Identifier: Apache-2.0
#include "quorum/peers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "bits/peer_error.h"
#include "quorum/part.h"

namespace exitlog {

namespace {

// More than a window of entries that a follower has not acknowledged: a link that does not take
// even that has stopped, and what is left out comes again when it goes on.
constexpr size_t kQueueBytesMax = 96u << 20;
// A packet is a window of entries at most.
constexpr uint64_t kPacketBytesMax = 72u << 20;
// A host that is gone without a word: its link is given up, so that it can be made anew.
constexpr unsigned kUnackedMsMax = 5000;

void giveUpSilence(int fd) {
  const unsigned unacked = kUnackedMsMax;
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof unacked);
  const int on = 1;
  const int seconds = 5;
  const int probes = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace

void Peers::add(uint64_t id, std::unique_ptr<Link> link) {
  giveUpSilence(link->fd());
  peers_[id] = Peer{std::move(link), nullptr, 0, 0, {}};
}

void Peers::drop(uint64_t id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  found->second.link->shut();
  peers_.erase(found);
}

std::vector<uint64_t> Peers::ids() const {
  std::vector<uint64_t> all;
  for (const auto& one : peers_) all.push_back(one.first);
  return all;
}

void Peers::lose(uint64_t id, const char* code, const std::string& message) {
  drop(id);
  events_.lost(id, code, message);
}

void Peers::send(uint64_t to, const quorum::Packet& packet) {
  const auto found = peers_.find(to);
  if (found == peers_.end()) return;
  Link& link = *found->second.link;
  size_t left = packet.bytes();
  if (link.queuedBytes() + left > kQueueBytesMax) return;
  size_t room = 0;  // of the frame that is being filled
  const auto add = [&](const uint8_t* bytes, size_t count) {
    while (count > 0) {
      if (room == 0) {
        room = std::min<size_t>(left, kQuorumBodyBytesMax);
        beginPart(staged_, room);
      }
      const size_t now = std::min(count, room);
      addBytes(staged_, bytes, now);
      bytes += now;
      count -= now;
      room -= now;
      left -= now;
      if (room > 0) continue;
      if (left > 0) link.begin(staged_.data(), staged_.size());
      else link.send(staged_.data(), staged_.size());
      staged_.clear();
    }
  };
  add(packet.head.data(), packet.head.size());
  for (const quorum::Slice& payload : packet.payloads) add(payload.bytes.get(), payload.count);
}

std::vector<Peers::Wanted> Peers::wanted() const {
  std::vector<Wanted> all;
  for (const auto& [id, peer] : peers_) {
    const short out = peer.link->toWrite() > 0 ? POLLOUT : 0;
    all.push_back(Wanted{id, peer.link->fd(), static_cast<short>(POLLIN | out)});
  }
  return all;
}

bool Peers::hasUnread() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const auto& one) { return one.second.link->hasUnread(); });
}

void Peers::serve(const std::vector<uint64_t>& readable) {
  for (const uint64_t id : ids()) {
    read(id, std::find(readable.begin(), readable.end(), id) != readable.end());
    const auto found = peers_.find(id);
    if (found != peers_.end()) found->second.link->flush();
  }
}

void Peers::read(uint64_t id, bool isReadable) {
  try {
    for (int reads = 0;; reads++) {
      Link::Frame frame{};
      // It may be gone: what hears it may drop it.
      for (auto found = peers_.find(id); found != peers_.end() && found->second.link->next(frame);
           found = peers_.find(id)) {
        if (!isPart(frame.bytes, frame.length)) {
          throw PeerError(kPeerProtocol, format("a replica sent a frame of type %u", frame.type));
        }
        take(id, found->second, frame.bytes + sizeof(FramePrefix),
             frame.length - sizeof(FramePrefix));
      }
      const auto found = peers_.find(id);
      if (found == peers_.end() || !isReadable || reads == 4 || !found->second.link->read()) return;
    }
  } catch (const PeerError& error) {
    lose(id, error.code, error.what());
  }
}

// A part of a packet. Small ones, most of them, come whole.
void Peers::take(uint64_t id, Peer& peer, const uint8_t* bytes, size_t count) {
  if (peer.packet == nullptr) {
    addBytes(peer.head, bytes, count);
    if (peer.head.size() < sizeof(quorum::PacketHead)) return;
    quorum::PacketHead head{};
    memcpy(&head, peer.head.data(), sizeof head);
    const uint64_t all = quorum::packetBytes(head);
    if (all > kPacketBytesMax || all < peer.head.size()) {
      throw PeerError(kPeerProtocol, format("a replica's message of %llu bytes",
                                            static_cast<unsigned long long>(all)));
    }
    peer.packet.reset(new uint8_t[all], std::default_delete<uint8_t[]>());
    peer.bytes = all;
    peer.have = peer.head.size();
    memcpy(peer.packet.get(), peer.head.data(), peer.have);
    peer.head.clear();
  } else {
    if (count > peer.bytes - peer.have) {
      throw PeerError(kPeerProtocol, "a replica's message is longer than it said");
    }
    memcpy(peer.packet.get() + peer.have, bytes, count);
    peer.have += count;
  }
  if (peer.have < peer.bytes) return;
  const quorum::Slice packet{std::move(peer.packet), peer.bytes};
  peer.packet.reset();
  events_.heard(id, packet);
}

}  // namespace exitlog
