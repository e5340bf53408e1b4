// SPDX-License-Identifier: Apache-2.0
#include "link/records.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>

#include <cstring>
#include <new>
#include <utility>

namespace exitlog {

namespace {

constexpr uint8_t kVersion[] = {3, 3};

void must(bool holds) {
  if (!holds) throw std::bad_alloc();
}

}  // namespace

TrafficKey::TrafficKey(const SSL_CIPHER* suite, std::vector<uint8_t> secret, bool seals)
    : seals_(seals),
      digest_(SSL_CIPHER_get_handshake_digest(suite)),
      kdf_(EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr)),
      cipher_(EVP_CIPHER_fetch(nullptr, OBJ_nid2sn(SSL_CIPHER_get_cipher_nid(suite)), nullptr)),
      context_(EVP_CIPHER_CTX_new()),
      secret_(std::move(secret)) {
  must(digest_ != nullptr && kdf_ && cipher_ && context_);
  makeKey();
}

TrafficKey::~TrafficKey() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

// HKDF-Expand-Label (RFC 8446, 7.1), without a context.
std::vector<uint8_t> TrafficKey::expand(const char* label, size_t bytes) const {
  const std::unique_ptr<EVP_KDF_CTX, Freed<EVP_KDF_CTX_free>> kdf(EVP_KDF_CTX_new(kdf_.get()));
  std::vector<uint8_t> made(bytes);
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const auto octets = [](const char* name, const void* from, size_t count) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<void*>(from), count);
  };
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                       const_cast<char*>(EVP_MD_get0_name(digest_)), 0),
      octets(OSSL_KDF_PARAM_KEY, secret_.data(), secret_.size()),
      octets(OSSL_KDF_PARAM_PREFIX, "tls13 ", 6),
      octets(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
      OSSL_PARAM_construct_end(),
  };
  must(kdf != nullptr && EVP_KDF_derive(kdf.get(), made.data(), made.size(), params) == 1);
  return made;
}

void TrafficKey::makeKey() {
  std::vector<uint8_t> key = expand("key", EVP_CIPHER_get_key_length(cipher_.get()));
  const std::vector<uint8_t> iv = expand("iv", iv_.size());
  memcpy(iv_.data(), iv.data(), iv_.size());
  const int made = EVP_CipherInit_ex(context_.get(), cipher_.get(), nullptr, key.data(), iv_.data(),
                                     seals_ ? 1 : 0);
  OPENSSL_cleanse(key.data(), key.size());
  must(made == 1);
  sequence_ = 0;
}

void TrafficKey::update() {
  std::vector<uint8_t> next = expand("traffic upd", secret_.size());
  secret_.swap(next);
  OPENSSL_cleanse(next.data(), next.size());
  makeKey();
}

// RFC 8446, 5.3.
std::array<uint8_t, 12> TrafficKey::nextNonce() {
  std::array<uint8_t, 12> nonce = iv_;
  for (size_t i = 0; i < sizeof sequence_; i++) {
    nonce[nonce.size() - 1 - i] ^= static_cast<uint8_t>(sequence_ >> (8 * i));
  }
  sequence_++;
  return nonce;
}

void TrafficKey::seal(Content content, const uint8_t* text, size_t count,
                      std::vector<uint8_t>& out) {
  EVP_CIPHER_CTX* context = context_.get();
  const size_t sealed = count + 1 + kTagBytes;
  const size_t at = out.size();
  const std::array<uint8_t, 12> nonce = nextNonce();
  const auto type = static_cast<uint8_t>(content);
  out.resize(at + kRecordHeadBytes + sealed);
  uint8_t* to = out.data() + at;
  const uint8_t head[kRecordHeadBytes] = {static_cast<uint8_t>(Content::data), kVersion[0],
                                          kVersion[1], static_cast<uint8_t>(sealed >> 8),
                                          static_cast<uint8_t>(sealed)};
  memcpy(to, head, sizeof head);
  to += sizeof head;
  int some = 0;
  int last = 0;
  // An update of no bytes is the end to some ciphers.
  must(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
       EVP_EncryptUpdate(context, nullptr, &some, head, sizeof head) == 1 &&
       (count == 0 || EVP_EncryptUpdate(context, to, &some, text, static_cast<int>(count)) == 1) &&
       EVP_EncryptUpdate(context, to + count, &last, &type, 1) == 1 &&
       EVP_EncryptFinal_ex(context, to + count + 1, &some) == 1 &&
       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, to + count + 1) == 1);
}

bool TrafficKey::open(const uint8_t* record, size_t bytes, uint8_t* into, Content& content,
                      size_t& count) {
  EVP_CIPHER_CTX* context = context_.get();
  if (bytes < kRecordHeadBytes + 1 + kTagBytes) return false;
  const size_t text = bytes - kRecordHeadBytes - kTagBytes;
  const std::array<uint8_t, 12> nonce = nextNonce();
  uint8_t tag[kTagBytes];
  memcpy(tag, record + bytes - kTagBytes, kTagBytes);
  int some = 0;
  if (EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) != 1 ||
      EVP_DecryptUpdate(context, nullptr, &some, record, kRecordHeadBytes) != 1 ||
      EVP_DecryptUpdate(context, into, &some, record + kRecordHeadBytes, static_cast<int>(text)) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) != 1 ||
      EVP_DecryptFinal_ex(context, into + text, &some) != 1) {
    return false;
  }
  // Zeros may follow its type (RFC 8446, 5.4).
  size_t at = text;
  while (at > 0 && into[at - 1] == 0) at--;
  if (at == 0 || at - 1 > kRecordTextBytes) return false;
  content = static_cast<Content>(into[at - 1]);
  count = at - 1;
  return true;
}

}  // namespace exitlog
