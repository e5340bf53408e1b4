// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 of one connection, both sides with a certificate. Free of sockets: what came in goes
// through `take` and `read`, what is to go out is appended to the link's queue. So a full socket
// is the queue's matter, and one read of the socket stays one system call. The handshake is
// OpenSSL's, the records after it are records.h's.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "bits/peer_error.h"
#include "link/keys.h"
#include "link/records.h"

namespace exitlog {

class Tls {
 public:
  // `listens`: the peer begins. `peerName`: a URI that the peer's certificate has to have.
  Tls(std::shared_ptr<const Keys> keys, bool listens, std::string peerName,
      std::vector<uint8_t>& out);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // The peer is who it has to be, and both have the same keys. Nothing of it is shown before.
  bool isOpen() const { return isOpen_; }
  // The side that dials begins.
  void start();
  // Bytes of the socket; all of them are to be read by `read` before the next call.
  void take(const uint8_t* bytes, size_t count);
  // What they say, 0: no more. `room`: as much as what was taken and not read, half a record of
  // before included. Throws PeerError, after which `out` may have last words.
  size_t read(uint8_t* into, size_t room);
  // Once it is open.
  void write(const uint8_t* bytes, size_t count);
  // Nothing is written after it.
  void sayEnd();

 private:
  friend struct Pipe;
  bool shake();
  void begin();
  bool nextRecord(const uint8_t*& record, size_t& bytes);
  void heard(Content content, const uint8_t* text, size_t count);
  void sayAlert(uint8_t level, uint8_t description);
  void nextKey();
  void checkPeer(X509_STORE_CTX* store, bool& isGood);
  [[noreturn]] void fail();
  [[noreturn]] void notSealed(uint8_t alert, const std::string& why);
  std::string handshakeFault() const;

  std::shared_ptr<const Keys> keys_;
  const bool listens_;
  const std::string peerName_;
  std::vector<uint8_t>& out_;
  const uint8_t* in_ = nullptr;
  size_t inCount_ = 0;
  bool isFirst_ = true;
  bool isOpen_ = false;
  bool hasEnded_ = false;
  std::string fault_;  // of the peer's certificate
  // While they are agreed on: the dialing side's, and the listening side's.
  std::vector<uint8_t> secrets_[2];
  std::unique_ptr<TrafficKey> seals_;
  std::unique_ptr<TrafficKey> opens_;
  std::vector<uint8_t> part_;  // a record that has not come whole
  bool isPartRead_ = false;    // … and has been read by now
  SSL* ssl_;
};

// What TLS begins with, and what it says when it is not understood: those who speak no TLS
// can tell its speakers, and the other way.
bool looksLikeTls(const uint8_t* bytes, size_t count);
extern const std::vector<uint8_t> kNotUnderstood;

}  // namespace exitlog
