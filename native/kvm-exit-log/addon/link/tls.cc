// SPDX-License-Identifier: Apache-2.0
#include "link/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace exitlog {

namespace {

constexpr auto kAlertRecord = static_cast<uint8_t>(Content::alert);
constexpr auto kHandshakeRecord = static_cast<uint8_t>(Content::handshake);
constexpr const char* kNotAccepted =
    "the peer does not accept our certificate; `understudy status` there says why "
    "(last_refused)";

// RFC 8446, 4.6.3: its type, its length, and whether it asks for ours.
constexpr size_t kKeyUpdateBytes = 5;
constexpr uint8_t kKeyUpdate[kKeyUpdateBytes] = {24, 0, 0, 1, 0};

// RFC 8446, 6: level, description.
constexpr size_t kAlertBytes = 2;
enum Level : uint8_t { kWarning = 1, kFatal = 2 };

bool refusesCertificate(int alert) {
  return alert == SSL_AD_BAD_CERTIFICATE || alert == SSL_AD_CERTIFICATE_REQUIRED;
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

  // What a key log would have of both sides' secrets; it is written nowhere.
  static void keep(const SSL* ssl, const char* line) {
    static constexpr const char* kLabels[] = {"CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "};
    for (size_t i = 0; i < 2; i++) {
      if (strncmp(line, kLabels[i], strlen(kLabels[i])) != 0) continue;
      long count = 0;
      uint8_t* secret = OPENSSL_hexstr2buf(strrchr(line, ' ') + 1, &count);
      if (secret == nullptr) return;
      of(SSL_get_rbio(ssl)).secrets_[i].assign(secret, secret + count);
      OPENSSL_clear_free(secret, static_cast<size_t>(count));
    }
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
    : keys_(std::move(keys)),
      listens_(listens),
      peerName_(std::move(peerName)),
      out_(out),
      ssl_(SSL_new(keys_->get())) {
  BIO* pipe = BIO_new(Pipe::method());
  if (ssl_ == nullptr || pipe == nullptr) throw std::bad_alloc();
  BIO_set_data(pipe, this);
  SSL_set_bio(ssl_, pipe, pipe);
  SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(ssl_), Pipe::check, nullptr);
  SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl_), Pipe::keep);
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
    begin();
    return true;
  }
  if (SSL_get_error(ssl_, done) == SSL_ERROR_WANT_READ) return false;
  fail();
}

// OpenSSL has read to the end of the handshake's last record, and not beyond.
void Tls::begin() {
  const SSL_CIPHER* suite = SSL_get_current_cipher(ssl_);
  std::vector<uint8_t>& ours = secrets_[listens_ ? 1 : 0];
  std::vector<uint8_t>& theirs = secrets_[listens_ ? 0 : 1];
  if (SSL_has_pending(ssl_) == 1 || ours.empty() || theirs.empty()) fail();
  seals_ = std::make_unique<TrafficKey>(suite, std::exchange(ours, {}), true);
  opens_ = std::make_unique<TrafficKey>(suite, std::exchange(theirs, {}), false);
  isOpen_ = true;
}

// One that has come whole; half of one is kept until the rest of it is there.
bool Tls::nextRecord(const uint8_t*& record, size_t& bytes) {
  const auto whole = [this](const uint8_t* head) {
    const size_t sealed = static_cast<size_t>(head[3]) << 8 | head[4];
    if (head[0] != static_cast<uint8_t>(Content::data)) {
      notSealed(SSL_AD_UNEXPECTED_MESSAGE, "a record in clear");
    }
    if (sealed > kRecordBytesMax) notSealed(SSL_AD_RECORD_OVERFLOW, "a record that is too long");
    return kRecordHeadBytes + sealed;
  };
  const auto fill = [this](size_t upTo) {
    const size_t some = std::min(upTo - std::min(upTo, part_.size()), inCount_);
    part_.insert(part_.end(), in_, in_ + some);
    in_ += some;
    inCount_ -= some;
    return part_.size() == upTo;
  };
  if (isPartRead_) part_.clear();
  isPartRead_ = false;
  if (part_.empty() && inCount_ >= kRecordHeadBytes && inCount_ >= whole(in_)) {
    record = in_;
    bytes = whole(in_);
    in_ += bytes;
    inCount_ -= bytes;
    return true;
  }
  if (part_.size() < kRecordHeadBytes && !fill(kRecordHeadBytes)) return false;
  bytes = whole(part_.data());
  if (!fill(bytes)) return false;
  record = part_.data();
  isPartRead_ = true;
  return true;
}

size_t Tls::read(uint8_t* into, size_t room) {
  if (!isOpen_ && !shake()) return 0;
  const uint8_t* record = nullptr;
  size_t bytes = 0;
  while (nextRecord(record, bytes)) {
    Content content{};
    size_t count = 0;
    if (bytes > room + kRecordHeadBytes + kTagBytes) throw std::length_error("no room for a record");
    if (!opens_->open(record, bytes, into, content, count)) {
      notSealed(SSL_AD_BAD_RECORD_MAC, "its seal is broken");
    }
    if (content != Content::data) heard(content, into, count);
    else if (count > 0) return count;
  }
  return 0;
}

// What is between the two libraries, and not for us.
void Tls::heard(Content content, const uint8_t* text, size_t count) {
  if (content == Content::alert && count == kAlertBytes) {
    const uint8_t alert = text[1];
    if (alert == SSL_AD_CLOSE_NOTIFY) throw PeerError(kPeerLost, "the peer closed the connection");
    hasEnded_ = true;
    // A listener judges our certificate when for us the handshake is over.
    if (refusesCertificate(alert)) throw PeerError(kPeerUntrusted, kNotAccepted);
    throw PeerError(kPeerProtocol,
                    std::string("the peer ends the connection: ") + SSL_alert_desc_string_long(alert));
  }
  const bool isKeyUpdate = content == Content::handshake && count == kKeyUpdateBytes &&
                           memcmp(text, kKeyUpdate, count - 1) == 0 && text[count - 1] <= 1;
  if (!isKeyUpdate) notSealed(SSL_AD_UNEXPECTED_MESSAGE, "a message that has no place here");
  opens_->update();
  if (text[count - 1] == 1 && !hasEnded_) nextKey();
}

// The peer is told before.
void Tls::nextKey() {
  seals_->seal(Content::handshake, kKeyUpdate, kKeyUpdateBytes, out_);
  seals_->update();
}

void Tls::write(const uint8_t* bytes, size_t count) {
  if (hasEnded_) return;
  while (count > 0) {
    const size_t some = std::min(count, kRecordTextBytes);
    // A key must not seal without end (RFC 8446, 5.5).
    if (seals_->records() >= keys_->recordsPerKey()) nextKey();
    seals_->seal(Content::data, bytes, some, out_);
    bytes += some;
    count -= some;
  }
}

void Tls::sayAlert(uint8_t level, uint8_t description) {
  const uint8_t alert[kAlertBytes] = {level, description};
  if (isOpen_ && !hasEnded_) seals_->seal(Content::alert, alert, sizeof alert, out_);
  hasEnded_ = true;
}

void Tls::sayEnd() { sayAlert(kWarning, SSL_AD_CLOSE_NOTIFY); }

void Tls::notSealed(uint8_t alert, const std::string& why) {
  sayAlert(kFatal, alert);
  throw PeerError(kPeerProtocol, "what the peer sent is not sealed as agreed: " + why);
}

// OpenSSL has said its alert.
void Tls::fail() {
  hasEnded_ = true;
  const std::string fault = handshakeFault();
  ERR_clear_error();
  throw PeerError(kPeerUntrusted, fault);
}

std::string Tls::handshakeFault() const {
  if (!fault_.empty()) return "the peer's certificate " + fault_;
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "the peer has no certificate";
  const char* words = ERR_reason_error_string(ERR_peek_last_error());
  const std::string said = words == nullptr ? "" : words;
  if (refusesCertificate(reason - SSL_AD_REASON_OFFSET)) return kNotAccepted;
  if (reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE) {
    return "the peer speaks no TLS that both know: has it [replication.tls] in VM.toml?";
  }
  return "no TLS with the peer: " + said;
}

}  // namespace exitlog
