// SPDX-License-Identifier: Apache-2.0
#include "link/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace exitlog {

namespace {

constexpr size_t kRecordTextBytes = 16 << 10;
constexpr uint8_t kAlertRecord = 0x15;
constexpr uint8_t kHandshakeRecord = 0x16;

bool refusesCertificate(int reason) {
  return reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
         reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED;
}

}  // namespace

// alert: fatal, handshake_failure
const std::vector<uint8_t> kNotUnderstood{kAlertRecord, 3, 3, 0, 2, 2, 40};

bool looksLikeTls(const uint8_t* bytes, size_t count) {
  return count >= 2 && (bytes[0] == kAlertRecord || bytes[0] == kHandshakeRecord) && bytes[1] == 3;
}

// Where OpenSSL reads and writes: the bytes that were taken, and the queue.
struct Pipe {
  static int write(BIO* bio, const char* bytes, size_t count, size_t* written) {
    std::vector<uint8_t>& out = of(bio).out_;
    // As the queue's own type: of another one each byte would be copied by itself.
    const uint8_t* from = reinterpret_cast<const uint8_t*>(bytes);
    out.insert(out.end(), from, from + count);
    *written = count;
    return 1;
  }

  static int read(BIO* bio, char* into, size_t room, size_t* count) {
    Tls& tls = of(bio);
    BIO_clear_retry_flags(bio);
    if (tls.inCount_ == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    *count = std::min(room, tls.inCount_);
    memcpy(into, tls.in_, *count);
    tls.in_ += *count;
    tls.inCount_ -= *count;
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH; }

  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* it = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "link");
      BIO_meth_set_write_ex(it, write);
      BIO_meth_set_read_ex(it, read);
      BIO_meth_set_ctrl(it, control);
      BIO_meth_set_create(it, create);
      return it;
    }();
    return made;
  }

  static Tls& of(BIO* bio) { return *static_cast<Tls*>(BIO_get_data(bio)); }

  // In place of X509_verify_cert. Whatever is wrong, the peer hears the same alert:
  // bad_certificate. This side says which.
  static int check(X509_STORE_CTX* store, void*) {
    SSL* ssl = static_cast<SSL*>(
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    bool isGood = false;
    of(SSL_get_rbio(ssl)).checkPeer(store, isGood);
    if (!isGood) X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return isGood ? 1 : 0;
  }
};

Tls::Tls(std::shared_ptr<const Keys> keys, bool listens, std::string peerName,
         std::vector<uint8_t>& out)
    : keys_(std::move(keys)), peerName_(std::move(peerName)), out_(out), ssl_(SSL_new(keys_->get())) {
  BIO* pipe = BIO_new(Pipe::method());
  if (ssl_ == nullptr || pipe == nullptr) throw std::bad_alloc();
  BIO_set_data(pipe, this);
  SSL_set_bio(ssl_, pipe, pipe);
  SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(ssl_), Pipe::check, nullptr);
  SSL_set_verify(ssl_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (listens) SSL_set_accept_state(ssl_);
  else SSL_set_connect_state(ssl_);
}

Tls::~Tls() { SSL_free(ssl_); }

void Tls::checkPeer(X509_STORE_CTX* store, bool& isGood) {
  if (X509_verify_cert(store) != 1) {
    fault_ = certificateFault(X509_STORE_CTX_get_error(store));
    return;
  }
  const std::vector<std::string> names = namesOf(X509_STORE_CTX_get0_cert(store));
  isGood = std::find(names.begin(), names.end(), peerName_) != names.end();
  if (isGood) return;
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  fault_ = "is of " + (all.empty() ? "no VM" : all) + ", and not of " + peerName_;
}

void Tls::start() { shake(); }

void Tls::take(const uint8_t* bytes, size_t count) {
  if (isFirst_ && count > 0) {
    isFirst_ = false;
    if (bytes[0] != kHandshakeRecord && bytes[0] != kAlertRecord) {
      out_.insert(out_.end(), kNotUnderstood.begin(), kNotUnderstood.end());
      throw PeerError(kPeerUntrusted,
                      "the peer speaks no TLS, and this side has [replication.tls] in VM.toml: "
                      "it needs that too");
    }
  }
  in_ = bytes;
  inCount_ = count;
}

// False: more has to come.
bool Tls::shake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_);
  if (done == 1) {
    isOpen_ = true;
    return true;
  }
  if (SSL_get_error(ssl_, done) == SSL_ERROR_WANT_READ) return false;
  fail();
}

size_t Tls::read(uint8_t* into, size_t room) {
  if (!isOpen_ && !shake()) return 0;
  // Half a record is kept until the rest of it is there.
  if (inCount_ == 0 && SSL_pending(ssl_) == 0) return 0;
  ERR_clear_error();
  size_t count = 0;
  const int done = SSL_read_ex(ssl_, into, room, &count);
  if (done == 1) return count;
  switch (SSL_get_error(ssl_, done)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: throw PeerError(kPeerLost, "the peer closed the connection");
    default: fail();
  }
}

void Tls::write(const uint8_t* bytes, size_t count) {
  if (hasEnded_ || count == 0) return;
  // A key must not seal without end (RFC 8446, 5.5): the next one is told before.
  const uint64_t records = (count + kRecordTextBytes - 1) / kRecordTextBytes;
  if (records_ + records > keys_->recordsPerKey() && records_ > 0) {
    SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED);
    records_ = 0;
  }
  records_ += records;
  ERR_clear_error();
  size_t written = 0;
  // Whatever the pipe is given it takes. What fails here has failed in `read`, which says so.
  if (SSL_write_ex(ssl_, bytes, count, &written) != 1) hasEnded_ = true;
  ERR_clear_error();
}

void Tls::sayEnd() {
  if (isOpen_ && !hasEnded_) SSL_shutdown(ssl_);
  hasEnded_ = true;
  ERR_clear_error();
}

// A listener judges our certificate when for us the handshake is over.
void Tls::fail() {
  hasEnded_ = true;
  const bool isTrust = !isOpen_ || refusesCertificate(ERR_GET_REASON(ERR_peek_last_error()));
  const std::string fault = isTrust ? handshakeFault() : sslError();
  ERR_clear_error();
  if (isTrust) throw PeerError(kPeerUntrusted, fault);
  throw PeerError(kPeerProtocol, "what the peer sent is not sealed as agreed: " + fault);
}

std::string Tls::handshakeFault() const {
  if (!fault_.empty()) return "the peer's certificate " + fault_;
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "the peer has no certificate";
  const char* words = ERR_reason_error_string(ERR_peek_last_error());
  const std::string said = words == nullptr ? "" : words;
  if (refusesCertificate(reason)) {
    return "the peer does not accept our certificate; `understudy status` there says why "
           "(last_refused)";
  }
  if (reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE) {
    return "the peer speaks no TLS that both know: has it [replication.tls] in VM.toml?";
  }
  return "no TLS with the peer: " + said;
}

}  // namespace exitlog
