// SPDX-License-Identifier: Apache-2.0
#include "store/hash_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "bits/args.h"
#include "store/holes.h"

namespace exitlog {

namespace {

constexpr size_t kChunk = 1 << 20;

// Reads a file on a thread of the pool; the promise is settled with what `result` makes.
class FileWork : public Napi::AsyncWorker {
 public:
  FileWork(Napi::Env env, const char* name, std::string path)
      : Napi::AsyncWorker(env, name),
        path_(std::move(path)),
        deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  // False with errno set.
  virtual bool read(int fd, off_t end) = 0;
  virtual Napi::Value result(Napi::Env env) = 0;

  void Execute() override {
    const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || !readFile(fd)) error_ = errno;
    if (fd >= 0) close(fd);
  }

  void OnOK() override {
    try {
      settle(Env());
    } catch (const Napi::Error&) {
      // The environment ended meanwhile: nobody waits for the promise.
    }
  }

  // Whole, from `at` on. A file that shrinks meanwhile is an error: the hash would be
  // of no state that the image ever had.
  static bool readAt(int fd, uint8_t* into, size_t count, off_t at) {
    while (count > 0) {
      const ssize_t n = pread(fd, into, count, at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      if (n == 0) return errno = EIO, false;
      into += n;
      count -= static_cast<size_t>(n);
      at += n;
    }
    return true;
  }
  static const uint8_t* zeros() {
    static const std::unique_ptr<uint8_t[]> bytes(new uint8_t[kChunk]());
    return bytes.get();
  }

 private:
  bool readFile(int fd) {
    struct stat info;
    if (fstat(fd, &info) < 0) return false;
    if (S_ISDIR(info.st_mode)) return errno = EISDIR, false;
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) return errno = EINVAL, false;
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) return false;
    try {
      if (!read(fd, end)) return false;
    } catch (const std::bad_alloc&) {
      return errno = ENOMEM, false;
    }
    // A hole that was cut off looks like one that is there.
    const off_t now = lseek(fd, 0, SEEK_END);
    if (now >= 0 && now < end) errno = EIO;
    return now >= end;
  }

  void settle(Napi::Env env) {
    Napi::HandleScope scope(env);
    if (error_ == 0) {
      deferred_.Resolve(result(env));
      return;
    }
    const std::string why = std::generic_category().message(error_);
    Napi::Error error = Napi::Error::New(env, "cannot hash " + path_ + ": " + why);
    error.Set("code", Napi::String::New(env, errnoName(error_)));
    error.Set("path", Napi::String::New(env, path_));
    deferred_.Reject(error.Value());
  }

  std::string path_;
  Napi::Promise::Deferred deferred_;
  int error_ = 0;
};

class HashFile : public FileWork {
 public:
  HashFile(Napi::Env env, std::string path)
      : FileWork(env, "understudy:hashFile", std::move(path)) {}

 protected:
  bool read(int fd, off_t end) override {
    const std::unique_ptr<uint8_t[]> chunk(new uint8_t[kChunk]);
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    off_t at = 0;
    while (at < end) {
      for (const off_t data = dataFrom(fd, at, end); at < data;) {
        const size_t n = static_cast<size_t>(std::min<off_t>(data - at, kChunk));
        XXH64_update(&state, zeros(), n);
        at += static_cast<off_t>(n);
      }
      for (const off_t hole = holeFrom(fd, at, end); at < hole;) {
        const size_t n = static_cast<size_t>(std::min<off_t>(hole - at, kChunk));
        if (!readAt(fd, chunk.get(), n, at)) return false;
        XXH64_update(&state, chunk.get(), n);
        at += static_cast<off_t>(n);
      }
    }
    digest_ = XXH64_digest(&state);
    bytes_ = static_cast<uint64_t>(end);
    return true;
  }

  Napi::Value result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("xxh64", Napi::BigInt::New(env, digest_));
    result.Set("bytes", Napi::Number::New(env, static_cast<double>(bytes_)));
    return result;
  }

 private:
  uint64_t digest_ = 0;
  uint64_t bytes_ = 0;
};

class HashBlocks : public FileWork {
 public:
  HashBlocks(Napi::Env env, std::string path, size_t blockBytes)
      : FileWork(env, "understudy:hashBlocks", std::move(path)), blockBytes_(blockBytes) {}

 protected:
  bool read(int fd, off_t end) override {
    const std::unique_ptr<uint8_t[]> chunk(new uint8_t[kChunk]);
    const off_t block = static_cast<off_t>(blockBytes_);
    const uint64_t zero = XXH64(zeros(), blockBytes_, 0);
    digests_.reserve(static_cast<size_t>((end + block - 1) / block));
    off_t at = 0;  // at a block's begin, or the end
    while (at < end) {
      const off_t data = dataFrom(fd, at, end);
      // Blocks that lie in the hole with all they have.
      for (; at + block <= data; at += block) digests_.push_back(zero);
      if (at < end && data == end) {
        digests_.push_back(XXH64(zeros(), static_cast<size_t>(end - at), 0));
        break;
      }
      const off_t hole = holeFrom(fd, data, end);
      while (at < hole) {
        const off_t room = static_cast<off_t>(kChunk / blockBytes_) * block;
        const off_t upTo = std::min(end, (hole + block - 1) / block * block);
        const size_t n = static_cast<size_t>(std::min(upTo - at, room));
        if (!readAt(fd, chunk.get(), n, at)) return false;
        for (size_t from = 0; from < n; from += blockBytes_) {
          digests_.push_back(XXH64(chunk.get() + from, std::min(blockBytes_, n - from), 0));
        }
        at += static_cast<off_t>(n);
      }
    }
    return true;
  }

  Napi::Value result(Napi::Env env) override {
    Napi::BigUint64Array array = Napi::BigUint64Array::New(env, digests_.size());
    if (!digests_.empty()) memcpy(array.Data(), digests_.data(), digests_.size() * 8);
    return array;
  }

 private:
  size_t blockBytes_;
  std::vector<uint64_t> digests_;
};

Napi::Value start(FileWork* work) {
  Napi::Promise promise = work->promise();
  work->Queue();
  return promise;
}

}  // namespace

Napi::Value hashFile(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    return start(new HashFile(info.Env(), argString(info, 0, "path")));
  });
}

Napi::Value hashBlocks(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    std::string path = argString(info, 0, "path");
    const uint64_t bytes = argInteger(info, info[1], "blockBytes", 1, kChunk);
    if (bytes % 4096 != 0) badRange(info, "blockBytes", "a multiple of 4096");
    return start(new HashBlocks(info.Env(), std::move(path), static_cast<size_t>(bytes)));
  });
}

}  // namespace exitlog
