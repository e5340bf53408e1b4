// SPDX-License-Identifier: Apache-2.0
// The records of TLS 1.3 once both sides have keys (RFC 8446, 5.2): what OpenSSL's SSL_write and
// SSL_read do, by the same library's ciphers, from the sender's bytes into the queue and from
// the socket's into the reader's, without a copy between. As with TLS in the kernel, the
// handshake is OpenSSL's, and what is on the wire is TLS. docs/decisions/0011 says why.
#pragma once

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "link/keys.h"

namespace exitlog {

constexpr size_t kRecordTextBytes = 16 << 10;
constexpr size_t kRecordHeadBytes = 5;
// A record's bytes, at most: so many can be kept between two reads.
constexpr size_t kRecordBytesMax = kRecordTextBytes + 256;
constexpr size_t kTagBytes = 16;

// What a record says (RFC 8446, 5.1).
enum class Content : uint8_t { changeCipherSpec = 20, alert = 21, handshake = 22, data = 23 };

// One direction's traffic secret, and the key that is in use.
class TrafficKey {
 public:
  // `suite`: the handshake's. Throws bad_alloc where the library has nothing of the kind.
  TrafficKey(const SSL_CIPHER* suite, std::vector<uint8_t> secret, bool seals);
  ~TrafficKey();
  TrafficKey(const TrafficKey&) = delete;
  TrafficKey& operator=(const TrafficKey&) = delete;

  // The next key (RFC 8446, 7.2).
  void update();
  // Appends one record of at most kRecordTextBytes.
  void seal(Content content, const uint8_t* text, size_t count, std::vector<uint8_t>& out);
  // A whole record into `into`, which has room for all that follows its head, and nothing of it
  // counts unless this returns true.
  bool open(const uint8_t* record, size_t bytes, uint8_t* into, Content& content, size_t& count);

  uint64_t records() const { return sequence_; }

 private:
  void makeKey();
  std::vector<uint8_t> expand(const char* label, size_t bytes) const;
  std::array<uint8_t, 12> nextNonce();

  const bool seals_;
  const EVP_MD* const digest_;
  std::unique_ptr<EVP_KDF, Freed<EVP_KDF_free>> kdf_;
  std::unique_ptr<EVP_CIPHER, Freed<EVP_CIPHER_free>> cipher_;
  std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>> context_;
  std::vector<uint8_t> secret_;
  std::array<uint8_t, 12> iv_{};
  uint64_t sequence_ = 0;  // of the record that comes next
};

}  // namespace exitlog
