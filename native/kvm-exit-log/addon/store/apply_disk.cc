// SPDX-License-Identifier: Apache-2.0
// A checkpoint's clusters of a disk, onto a copy of the image, on a thread of the pool.
// QEMU writes the file (qemu/exitlog/cut/checkpoint.h, checkpoint-disk.c).
#include "store/apply_disk.h"

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>

#include "bits/args.h"
#include "store/holes.h"

namespace exitlog {

namespace {

constexpr uint64_t kDiskMagic = 0x334b53444b435855;  // "UXCKDSK3"
constexpr uint64_t kOldMagic = 0x324b53444b435855;   // "UXCKDSK2": zeros are short, too
constexpr size_t kRunBytesMax = 1 << 20;
constexpr size_t kZeroBytesMax = 1 << 30;

// `stored` bytes follow: none, it is all zero; all of it; fewer, a frame of zstd.
struct DiskRun {
  uint64_t offset;
  uint32_t bytes;
  uint32_t stored;
};
static_assert(sizeof(DiskRun) == 16, "as QEMU writes it");

class Fd {
 public:
  Fd(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC)) {
    if (fd_ < 0) fail("open " + path);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { close(fd_); }

  // Fewer bytes only at the end of the file.
  size_t read(void* into, size_t count) const {
    size_t done = 0;
    while (done < count) {
      const ssize_t n = ::read(fd_, static_cast<uint8_t*>(into) + done, count - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("read a checkpoint's disk");
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }
  // Also of a block device.
  uint64_t bytes() const {
    const off_t end = lseek(fd_, 0, SEEK_END);
    if (end < 0) fail("ask the image for its size");
    return static_cast<uint64_t>(end);
  }
  // A hole where the file system has them.
  void zero(size_t count, uint64_t at) const {
    zeroRange(fd_, static_cast<off_t>(at), static_cast<off_t>(count));
  }
  void write(const uint8_t* from, size_t count, uint64_t at) const {
    while (count > 0) {
      const ssize_t n = pwrite(fd_, from, count, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write the image");
      from += n;
      count -= static_cast<size_t>(n);
      at += static_cast<uint64_t>(n);
    }
  }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), "cannot " + what);
  }
  int fd_;
};

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ApplyDisk : public Napi::AsyncWorker {
 public:
  ApplyDisk(Napi::Env env, std::string file, std::string image)
      : Napi::AsyncWorker(env, "understudy:applyDisk"),
        file_(std::move(file)),
        image_(std::move(image)),
        deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    try {
      apply();
    } catch (const CorruptError& error) {
      fail(error.what(), "ERR_LOG_CORRUPT");
    } catch (const std::system_error& error) {
      fail(error.what(), errnoName(error.code().value()));
    } catch (const std::bad_alloc&) {
      fail("out of memory", "ENOMEM");
    }
  }

  void OnOK() override {
    try {
      settle(Env());
    } catch (const Napi::Error&) {
      // The environment ended meanwhile: nobody waits for the promise.
    }
  }

 private:
  void apply() {
    const Fd file(file_, O_RDONLY);
    const Fd image(image_, O_WRONLY);
    const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
    if (context == nullptr) throw std::bad_alloc();
    const std::unique_ptr<uint8_t[]> stored(new uint8_t[kRunBytesMax]);
    const std::unique_ptr<uint8_t[]> content(new uint8_t[kRunBytesMax]);
    uint64_t magic = 0;
    if (file.read(&magic, sizeof magic) != sizeof magic ||
        (magic != kDiskMagic && magic != kOldMagic)) {
      throw CorruptError(file_ + " is no disk of a checkpoint that this version reads");
    }
    const uint64_t bytes = image.bytes();
    DiskRun run;
    for (size_t got; (got = file.read(&run, sizeof run)) > 0;) {
      const size_t most = run.stored == 0 && magic == kDiskMagic ? kZeroBytesMax : kRunBytesMax;
      const bool sane = got == sizeof run && run.bytes <= most && run.stored <= run.bytes;
      if (!sane || file.read(stored.get(), run.stored) != run.stored) {
        throw CorruptError(file_ + " is cut short, or has a cluster that is none");
      }
      // A guest's disk does not grow: what is behind its end is no guest's.
      if (run.offset > bytes || run.bytes > bytes - run.offset) {
        throw CorruptError(file_ + format(" has %u bytes at %" PRIu64 ", the disk %" PRIu64,
                                          run.bytes, run.offset, bytes));
      }
      if (run.stored == 0) {
        image.zero(run.bytes, run.offset);
      } else {
        image.write(unpacked(context.get(), run, stored.get(), content.get()), run.bytes,
                    run.offset);
      }
    }
  }

  const uint8_t* unpacked(ZSTD_DCtx* context, const DiskRun& run, const uint8_t* stored,
                          uint8_t* content) const {
    if (run.stored == run.bytes) return stored;
    if (ZSTD_decompressDCtx(context, content, run.bytes, stored, run.stored) != run.bytes) {
      throw CorruptError(file_ + " has a cluster that does not decompress");
    }
    return content;
  }

  void fail(const std::string& message, const char* code) {
    message_ = message;
    code_ = code;
  }

  void settle(Napi::Env env) {
    Napi::HandleScope scope(env);
    if (code_ == nullptr) {
      deferred_.Resolve(env.Undefined());
      return;
    }
    deferred_.Reject(withCode(env, Napi::Error::New(env, message_), code_).Value());
  }

  std::string file_;
  std::string image_;
  Napi::Promise::Deferred deferred_;
  std::string message_;
  const char* code_ = nullptr;
};

}  // namespace

Napi::Value applyDisk(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    std::string file = argString(info, 0, "file");
    auto* work = new ApplyDisk(info.Env(), std::move(file), argString(info, 1, "image"));
    Napi::Promise promise = work->promise();
    work->Queue();
    return promise;
  });
}

}  // namespace exitlog
