// SPDX-License-Identifier: Apache-2.0
// A link without keys whose peer sends any bytes in any portions: what comes out is whole frames,
// and what cannot be one ends it by name.
#include "link/link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "bits/frame.h"
#include "bits/peer_error.h"
#include "fuzz.h"

namespace exitlog {

namespace {

std::vector<uint8_t> said(Input& in) {
  const uint8_t mode = in.byte();
  std::vector<uint8_t> bytes = in.bytes(1024);
  if ((mode & 1) != 0) sealPrefix(bytes, static_cast<uint16_t>(in.upTo(15)));
  if ((mode & 6) == 6 && !bytes.empty()) bytes.resize(in.upTo(bytes.size()));
  if ((mode & 24) == 24 && bytes.size() > 1) {
    const uint8_t handshake[] = {0x16, 0x03};
    memcpy(bytes.data(), handshake, sizeof handshake);
  }
  return bytes;
}

void take(Link& link) {
  Link::Frame frame;
  while (link.next(frame)) {
    must(frame.length >= sizeof(FramePrefix) && frame.length == frameLength(frame.bytes));
    touch(frame.bytes, frame.length);
  }
}

void run(Input& in) {
  int fds[2];
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  {
    Link link;
    link.connect(fds[0]);
    bool isOpen = true;
    try {
      while (!in.isEmpty()) {
        switch (in.byte() % 8) {
          case 0:
          case 1:
          case 2: {
            const std::vector<uint8_t> bytes = said(in);
            if (isOpen) send(fds[1], bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
          }
          case 3: link.read(); break;
          case 4:
            link.read();
            take(link);
            break;
          case 5: take(link); break;
          case 6: {
            const std::vector<uint8_t> bytes = in.bytes(512);
            link.send(bytes.data(), bytes.size());
            link.flush();
            break;
          }
          default:
            if (in.byte() != 1) break;
            isOpen = false;
            shutdown(fds[1], in.flip() ? SHUT_WR : SHUT_RDWR);
        }
        link.heardNs();
        link.hasRoom();
        link.drained();
      }
      link.end();
      link.hasEnded();
    } catch (const PeerError&) {
    }
  }
  close(fds[1]);
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
