// SPDX-License-Identifier: Apache-2.0
#include "link/keys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "bits/errors.h"

namespace exitlog {

namespace {

using BioOwner = std::unique_ptr<BIO, Freed<BIO_free>>;
using CrlOwner = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;
using KeyOwner = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using StoreOwner = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

// Two certificates and what OpenSSL adds are 2 KiB; a stranger may make us keep no more.
constexpr long kCertificatesBytesMax = 16 << 10;
constexpr size_t kNameBytesMax = 128;
constexpr int kNamesMax = 8;

BioOwner textOf(const std::string& pem) {
  return BioOwner(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A key that is sealed itself cannot be used: nobody is there to type.
int noPassphrase(char*, int, int, void*) { return -1; }

[[noreturn]] void bad(const char* file, const std::string& why) {
  throw KeyError(std::string(file) + ": " + why);
}

// All of a file, one of them at least.
template <class Owner, class Read>
std::vector<Owner> readAll(const std::string& pem, const char* file, const char* what, Read read) {
  const BioOwner text = textOf(pem);
  std::vector<Owner> all;
  ERR_clear_error();
  while (auto* one = read(text.get(), nullptr, noPassphrase, nullptr)) all.emplace_back(one);
  const bool isEnd = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string why = sslError();
  if (!isEnd) bad(file, format("a %s in it cannot be read: %s", what, why.c_str()));
  if (all.empty()) bad(file, format("there is no %s in it (PEM)", what));
  return all;
}

void trust(SSL_CTX* context, const KeyFiles& files) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const X509Owner& ca : readAll<X509Owner>(files.ca, "ca", "certificate", PEM_read_bio_X509)) {
    if (X509_STORE_add_cert(store, ca.get()) != 1) bad("ca", sslError());
  }
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
  if (!files.crl.empty()) {
    for (const CrlOwner& crl :
         readAll<CrlOwner>(files.crl, "crl", "list of revoked certificates", PEM_read_bio_X509_CRL)) {
      if (X509_STORE_add_crl(store, crl.get()) != 1) bad("crl", sslError());
    }
    flags |= X509_V_FLAG_CRL_CHECK;
  }
  X509_VERIFY_PARAM_set_flags(X509_STORE_get0_param(store), flags);
}

void show(SSL_CTX* context, const KeyFiles& files) {
  const auto chain = readAll<X509Owner>(files.cert, "cert", "certificate", PEM_read_bio_X509);
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) bad("cert", sslError());
  for (size_t i = 1; i < chain.size(); i++) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) bad("cert", sslError());
  }
  const KeyOwner key(PEM_read_bio_PrivateKey(textOf(files.key).get(), nullptr, noPassphrase, nullptr));
  if (!key) bad("key", "no private key can be read from it (PEM, without a passphrase): " + sslError());
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    bad("key", "it is not the key of the certificate: " + sslError());
  }
}

// A CPU without instructions for AES is faster with the other one, and says so by its order.
const char* ciphers() {
  return __builtin_cpu_supports("aes")
             ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
             : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

bool isShown(const std::string& name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  for (const char c : name) {
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return true;
}

}  // namespace

std::string sslError() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == nullptr ? format("error %lx of OpenSSL", error) : reason;
}

Keys::Keys(const KeyFiles& files, uint64_t recordsPerKey)
    : context_(SSL_CTX_new(TLS_method())), recordsPerKey_(recordsPerKey) {
  ERR_clear_error();
  SSL_CTX* context = get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context, ciphers()) != 1) {
    throw KeyError("this Node's OpenSSL has no TLS 1.3: " + sslError());
  }
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // No connection is the continuation of another one: each shows its certificate.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_max_cert_list(context, kCertificatesBytesMax);
  SSL_CTX_set_quiet_shutdown(context, 0);
  trust(context, files);
  show(context, files);
}

std::vector<std::string> Keys::names() const { return namesOf(SSL_CTX_get0_certificate(get())); }

int64_t Keys::endsUnixS() const {
  struct tm at{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(get())), &at) != 1) return 0;
  return timegm(&at);
}

std::string Keys::ownFault() const {
  const StoreOwner look(X509_STORE_CTX_new());
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(get(), &chain);
  X509* own = SSL_CTX_get0_certificate(get());
  if (X509_STORE_CTX_init(look.get(), SSL_CTX_get_cert_store(get()), own, chain) != 1) {
    return sslError();
  }
  const bool isGood = X509_verify_cert(look.get()) == 1;
  const int error = X509_STORE_CTX_get_error(look.get());
  ERR_clear_error();
  return isGood ? "" : certificateFault(error);
}

std::vector<std::string> namesOf(const X509* certificate) {
  std::vector<std::string> names;
  std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>> all(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()) && names.size() < kNamesMax; i++) {
    const GENERAL_NAME* one = sk_GENERAL_NAME_value(all.get(), i);
    if (one->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = one->d.uniformResourceIdentifier;
    const std::string name(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                           static_cast<size_t>(ASN1_STRING_length(uri)));
    if (isShown(name)) names.push_back(name);
  }
  return names;
}

std::string certificateFault(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return "is not of a CA that is trusted here (ca)";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "is not valid yet: look at both hosts' clocks";
    case X509_V_ERR_CERT_REVOKED: return "is revoked (crl)";
    case X509_V_ERR_UNABLE_TO_GET_CRL: return "is of a CA of which there is no list of revoked ones (crl)";
    case X509_V_ERR_CRL_HAS_EXPIRED: return "cannot be judged: the list of revoked ones has expired (crl)";
    case X509_V_ERR_CRL_NOT_YET_VALID: return "cannot be judged: the list of revoked ones is not valid yet (crl)";
    default: return std::string("is not accepted: ") + X509_verify_cert_error_string(error);
  }
}

}  // namespace exitlog
