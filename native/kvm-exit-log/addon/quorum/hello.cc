// SPDX-License-Identifier: Apache-2.0
#include "quorum/hello.h"

#include <cinttypes>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"
#include "bits/peer_error.h"
#include "quorum/part.h"

namespace exitlog {

namespace {

constexpr uint64_t kHelloVersion = 0x3130304f4c454855;  // "UHELO001"

uint64_t checksumOf(const ReplicaHello& hello) {
  return xxh64(&hello.version, sizeof hello - sizeof hello.checksum);
}

[[noreturn]] void refuse(const std::string& what) { throw PeerError(kPeerProtocol, what); }

}  // namespace

std::vector<uint8_t> replicaHello(uint64_t cluster, uint64_t from, uint64_t to) {
  ReplicaHello hello{0, kHelloVersion, cluster, from, to};
  hello.checksum = checksumOf(hello);
  std::vector<uint8_t> frame;
  beginPart(frame, sizeof hello);
  addBytes(frame, &hello, sizeof hello);
  return frame;
}

uint64_t readReplicaHello(const uint8_t* frame, size_t length, uint64_t cluster, uint64_t to) {
  ReplicaHello hello{};
  if (!isPart(frame, length) || length != sizeof(FramePrefix) + sizeof hello) {
    refuse("the other side is no replica: it does not begin with a replica's hello");
  }
  memcpy(&hello, frame + sizeof(FramePrefix), sizeof hello);
  if (hello.checksum != checksumOf(hello)) refuse("a replica's hello is damaged");
  if (hello.version != kHelloVersion) refuse("a replica of another version");
  if (hello.cluster != cluster) {
    refuse(format("replica %" PRIu64 " is of another VM, or of one with other replicas", hello.from));
  }
  if (hello.to != to || hello.from == 0 || hello.from == to) {
    refuse(format("replica %" PRIu64 " looks for replica %" PRIu64 ", and this is replica %" PRIu64,
                  hello.from, hello.to, to));
  }
  return hello.from;
}

}  // namespace exitlog
