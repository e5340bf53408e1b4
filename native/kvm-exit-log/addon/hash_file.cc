// SPDX-License-Identifier: Apache-2.0
#include "hash_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

#include "args.h"

namespace exitlog {

namespace {

constexpr size_t kChunk = 1 << 20;

class HashFile : public Napi::AsyncWorker {
 public:
  HashFile(Napi::Env env, std::string path)
      : Napi::AsyncWorker(env, "understudy:hashFile"),
        path_(std::move(path)),
        deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || !hash(fd)) error_ = errno;
    if (fd >= 0) close(fd);
  }

  void OnOK() override {
    try {
      settle(Env());
    } catch (const Napi::Error&) {
      // The environment ended meanwhile: nobody waits for the promise.
    }
  }

 private:
  void settle(Napi::Env env) {
    Napi::HandleScope scope(env);
    if (error_ != 0) {
      const std::string why = std::generic_category().message(error_);
      Napi::Error error = Napi::Error::New(env, "cannot hash " + path_ + ": " + why);
      error.Set("code", Napi::String::New(env, errnoName(error_)));
      error.Set("path", Napi::String::New(env, path_));
      deferred_.Reject(error.Value());
      return;
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("xxh64", Napi::BigInt::New(env, digest_));
    result.Set("bytes", Napi::Number::New(env, static_cast<double>(bytes_)));
    deferred_.Resolve(result);
  }

  // False with errno set. A file that shrinks meanwhile is an error: the hash would
  // be of no state that the image ever had.
  bool hash(int fd) {
    struct stat info;
    if (fstat(fd, &info) < 0) return false;
    if (S_ISDIR(info.st_mode)) return errno = EISDIR, false;
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) return errno = EINVAL, false;
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) return false;
    std::unique_ptr<uint8_t[]> chunk(new uint8_t[kChunk]);
    static const std::unique_ptr<uint8_t[]> zeros(new uint8_t[kChunk]());
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    off_t at = 0;
    while (at < end) {
      off_t data = lseek(fd, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) data = end;
      if (data < 0) data = at;  // a file system without holes
      data = std::min(data, end);
      for (; at < data;) {
        const size_t n = static_cast<size_t>(std::min<off_t>(data - at, kChunk));
        XXH64_update(&state, zeros.get(), n);
        at += static_cast<off_t>(n);
      }
      if (at >= end) break;
      off_t hole = lseek(fd, at, SEEK_HOLE);
      if (hole < 0 || hole > end) hole = end;
      while (at < hole) {
        const size_t want = static_cast<size_t>(std::min<off_t>(hole - at, kChunk));
        const ssize_t n = pread(fd, chunk.get(), want, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        if (n == 0) return errno = EIO, false;
        XXH64_update(&state, chunk.get(), static_cast<size_t>(n));
        at += n;
      }
    }
    digest_ = XXH64_digest(&state);
    bytes_ = static_cast<uint64_t>(end);
    return true;
  }

  std::string path_;
  Napi::Promise::Deferred deferred_;
  int error_ = 0;
  uint64_t digest_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

Napi::Value hashFile(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    std::string path = argString(info, 0, "path");
    auto* work = new HashFile(info.Env(), std::move(path));
    Napi::Promise promise = work->promise();
    work->Queue();
    return promise;
  });
}

}  // namespace exitlog
