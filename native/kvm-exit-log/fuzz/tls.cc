// SPDX-License-Identifier: Apache-2.0
// TLS without a socket. A stranger's bytes; and two sides that are who they have to be, with
// somebody between them who changes, cuts and adds: what is said is what was written, or the link
// ends.
#include "link/tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "bits/peer_error.h"
#include "fuzz.h"

namespace exitlog {

namespace {

constexpr const char* kPrimary = "understudy://vm/demo/primary";
constexpr const char* kBackup = "understudy://vm/demo/backup";
// So few that keys change.
constexpr uint64_t kRecordsPerKey = 5;

template <class Write>
std::string pemOf(Write write) {
  const std::unique_ptr<BIO, Freed<BIO_free>> text(BIO_new(BIO_s_mem()));
  must(write(text.get()) == 1);
  char* bytes = nullptr;
  const long count = BIO_get_mem_data(text.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(count));
}

// One certificate for both, of nobody else.
std::shared_ptr<const Keys> madeKeys() {
  const std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>> key(EVP_EC_gen("P-256"));
  const X509Owner cert(X509_new());
  must(key != nullptr && cert != nullptr);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 365 * 86400L);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* name = X509_get_subject_name(cert.get());
  const auto* text = reinterpret_cast<const unsigned char*>("fuzz");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  X509_set_issuer_name(cert.get(), name);
  const std::string names = format("URI:%s,URI:%s", kPrimary, kBackup);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
  must(extension != nullptr && X509_add_ext(cert.get(), extension, -1) == 1);
  X509_EXTENSION_free(extension);
  must(X509_sign(cert.get(), key.get(), EVP_sha256()) > 0);
  KeyFiles files;
  files.ca = files.cert = pemOf([&](BIO* to) { return PEM_write_bio_X509(to, cert.get()); });
  files.key = pemOf([&](BIO* to) {
    return PEM_write_bio_PrivateKey(to, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return std::make_shared<const Keys>(files, kRecordsPerKey);
}

struct Side {
  Side(const std::shared_ptr<const Keys>& keys, bool listens)
      : tls(keys, listens, listens ? kBackup : kPrimary, out) {}
  std::vector<uint8_t> out;
  std::vector<uint8_t> wrote;
  std::vector<uint8_t> heard;
  Tls tls;
};

void hear(Side& side, const std::vector<uint8_t>& bytes) {
  const Exact exact(bytes);
  side.tls.take(exact.data(), exact.size());
  static std::vector<uint8_t> into(kRecordBytesMax);
  while (const size_t count = side.tls.read(into.data(), into.size())) {
    side.heard.insert(side.heard.end(), into.begin(), into.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

// What one side has sent, maybe not as it was sent, in portions.
void pass(Input& in, Side& from, Side& to) {
  std::vector<uint8_t> bytes = std::exchange(from.out, {});
  const uint8_t mode = in.byte();
  if (mode < 8 && !bytes.empty()) bytes[in.upTo(bytes.size() - 1)] ^= in.byte();
  if (mode >= 8 && mode < 12) bytes.resize(bytes.size() - in.upTo(bytes.size()));
  if (mode >= 12 && mode < 16) {
    const std::vector<uint8_t> more = in.bytes(64);
    const auto at = static_cast<std::ptrdiff_t>(in.upTo(bytes.size()));
    bytes.insert(bytes.begin() + at, more.begin(), more.end());
  }
  for (size_t at = 0; at < bytes.size();) {
    const size_t some = std::min<size_t>(bytes.size() - at, 1 + (in.flip() ? in.upTo(300) : 20000));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    hear(to, std::vector<uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(some)));
    at += some;
  }
}

void say(Input& in, Side& side) {
  const std::vector<uint8_t> bytes(in.upTo(in.flip() ? 40000 : 60), in.byte());
  if (!side.tls.isOpen()) return;
  side.tls.write(bytes.data(), bytes.size());
  side.wrote.insert(side.wrote.end(), bytes.begin(), bytes.end());
}

bool isBeginOf(const std::vector<uint8_t>& part, const std::vector<uint8_t>& all) {
  return part.size() <= all.size() && std::equal(part.begin(), part.end(), all.begin());
}

void run(Input& in) {
  static const std::shared_ptr<const Keys> keys = madeKeys();
  Side listens(keys, true);
  Side dials(keys, false);
  if (in.byte() < 64) {
    while (!in.isEmpty()) hear(listens, in.bytes(2048));
    must(listens.heard.empty() && !listens.tls.isOpen());
    return;
  }
  try {
    dials.tls.start();
    for (int steps = 0; steps < 200 && !in.isEmpty(); steps++) {
      pass(in, dials, listens);
      pass(in, listens, dials);
      say(in, in.flip() ? dials : listens);
      if (in.byte() == 1) dials.tls.sayEnd();
    }
  } catch (const PeerError&) {
  }
  must(isBeginOf(listens.heard, dials.wrote) && isBeginOf(dials.heard, listens.wrote));
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
