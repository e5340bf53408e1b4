// SPDX-License-Identifier: Apache-2.0
// What one side shows others, and whom it lets in. OpenSSL is Node's own.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace exitlog {

// The texts of PEM files.
struct KeyFiles {
  std::string ca;    // certificates of those who sign
  std::string cert;  // this side's, then those between it and the CA
  std::string key;
  std::string crl;  // what was taken back of the CA's; empty: nobody looks
};

template <auto Free>
struct Freed {
  template <class Thing>
  void operator()(Thing* thing) const {
    Free(thing);
  }
};
using X509Owner = std::unique_ptr<X509, Freed<X509_free>>;

class Keys {
 public:
  // Throws KeyError, naming the one of the files that is wrong.
  explicit Keys(const KeyFiles& files, uint64_t recordsPerKey);
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  SSL_CTX* get() const { return context_.get(); }
  // How many records one key seals before the next key.
  uint64_t recordsPerKey() const { return recordsPerKey_; }

  // This side's own certificate.
  std::vector<std::string> names() const;
  int64_t endsUnixS() const;
  // What those of the same CA would have against it; empty: nothing.
  std::string ownFault() const;

 private:
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context_;
  uint64_t recordsPerKey_;
};

struct KeyError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The URIs that a certificate names, those fit to be shown.
std::vector<std::string> namesOf(const X509* certificate);
// What is wrong with a certificate, for people; `error` is X509_verify_cert's.
std::string certificateFault(int error);
// The newest error of OpenSSL's, in its words. Forgets all of them.
std::string sslError();

}  // namespace exitlog
