// SPDX-License-Identifier: Apache-2.0
#include "testing/epochs.h"

#include <memory>
#include <string>
#include <vector>

#include "bits/args.h"
#include "exitlog_hash.h"
#include "image/disks.h"
#include "image/hand_over.h"
#include "image/image.h"
#include "image/memory.h"
#include "ring/exit_ring.h"
#include "ring/state_ring.h"

namespace exitlog {

namespace {

class Epochs final : public Napi::ObjectWrap<Epochs> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Epochs", {InstanceMethod<&Epochs::take>("take"),
                                       InstanceMethod<&Epochs::digest>("digest"),
                                       InstanceMethod<&Epochs::facts>("facts"),
                                       InstanceMethod<&Epochs::memoryFd>("memoryFd"),
                                       InstanceMethod<&Epochs::restFd>("restFd"),
                                       InstanceMethod<&Epochs::handOver>("handOver"),
                                       InstanceMethod<&Epochs::close>("close")});
  }

  // Epochs(ring, memoryBytes, disks); memoryBytes 0: the image's memory is its own
  explicit Epochs(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Epochs>(info), holder_(Napi::Persistent(info[0].As<Napi::Object>())),
        shm_(ExitRing::unwrap(info, info[0])->seen(info).shm), ring_(shm_) {
    const uint64_t bytes = argInteger(info, info[1], "memoryBytes", 0, kMemoryBytesMax);
    std::vector<std::string> paths;
    const auto given = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < given.Length(); i++) {
      paths.push_back(given.Get(i).As<Napi::String>().Utf8Value());
    }
    guard(info.Env(), [&] {
      if (bytes > 0) memory_ = std::make_unique<ImageMemory>(bytes);
      disks_ = std::make_unique<DiskFiles>(paths);
      image_ = std::make_unique<Image>(memory_.get(), disks_.get());
    });
  }

 private:
  static constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 40;

  // An epoch counts when its CHECKPOINT record is there, as a daemon's does.
  bool isClosed() const { return loadAcquire(shm_.header()->out.head) > ordinal_; }

  bool ends() {
    StateRing::Piece piece;
    while (!isEnded_ && ring_.peek(piece)) {
      const uint32_t part = piece.head.part;
      const uint64_t bytes = piece.data == nullptr ? 0 : piece.head.bytes;
      bytes_ += sizeof piece.head + bytes;
      if (part >= EXITLOG_PART_DISK || part == EXITLOG_PART_REFERENCES) {
        diskBytes_ += sizeof piece.head + bytes;
      }
      isEnded_ = piece.head.part == EXITLOG_PART_END;
      if (isEnded_) ordinal_ = piece.head.offset;
      else if (piece.head.part != EXITLOG_PART_BEGIN) image_->stage(piece.head, piece.data, bytes);
      ring_.pop();
    }
    return isEnded_;
  }

  // take(into): the next epoch's number, CHECKPOINT's ordinal, digest of memory, bytes of
  // state, and of these, of disk writes, digest of the devices; false: it is not whole yet
  Napi::Value take(const Napi::CallbackInfo& info) {
    uint64_t* into = argWords(info, info[0], "into", 6);
    return guard(info.Env(), [&]() -> Napi::Value {
      if (!ends() || !isClosed()) return Napi::Boolean::New(info.Env(), false);
      isEnded_ = false;
      into[0] = image_->commit(ordinal_);
      into[1] = ordinal_;
      into[2] = image_->ramDigest();
      into[3] = bytes_;
      into[4] = diskBytes_;
      into[5] = exitlog_hash_of(image_->devices().data(), image_->devices().size(), 0);
      bytes_ = diskBytes_ = 0;
      return Napi::Boolean::New(info.Env(), true);
    });
  }

  // memoryFd(): for a QEMU to inherit
  Napi::Value memoryFd(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), memory_ ? memory_->fd() : -1);
  }

  // restFd(): the file of handOver(), for that QEMU to inherit
  Napi::Value restFd(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), rest_.fd());
  }

  // handOver(): what was not committed is dropped
  void handOver(const Napi::CallbackInfo& info) {
    guard(info.Env(), [&] {
      image_->drop();
      exitlog::handOver(*image_, rest_.fd());
    });
  }

  // close(): memory and disks are somebody else's now
  void close(const Napi::CallbackInfo& info) {
    image_.reset();
    guard(info.Env(), [&] {
      if (disks_) disks_->sync();
    });
    disks_.reset();
    memory_.reset();
  }

  // digest(): of the memory as it is
  Napi::Value digest(const Napi::CallbackInfo& info) {
    return Napi::BigInt::New(info.Env(), image_->ramDigest());
  }

  // facts(): what the blocks are called, and how long they are
  Napi::Value facts(const Napi::CallbackInfo& info) {
    Napi::Array all = Napi::Array::New(info.Env());
    for (const Image::Block& block : image_->blocks()) {
      Napi::Array one = Napi::Array::New(info.Env());
      one.Set(0u, Napi::String::New(info.Env(), block.name));
      one.Set(1u, Napi::Number::New(info.Env(), static_cast<double>(block.used)));
      all.Set(all.Length(), one);
    }
    return all;
  }

  Napi::ObjectReference holder_;
  const Shm& shm_;
  StateRing ring_;
  std::unique_ptr<ImageMemory> memory_;
  std::unique_ptr<DiskFiles> disks_;
  std::unique_ptr<Image> image_;
  HandOver rest_;
  bool isEnded_ = false;  // all of an epoch is staged
  uint64_t ordinal_ = 0;  // of its CHECKPOINT record
  uint64_t bytes_ = 0;
  uint64_t diskBytes_ = 0;
};

}  // namespace

Napi::Function defineEpochs(Napi::Env env) { return Epochs::define(env); }

// putPieces(ring, pieces): what QEMU would put; each is [words, data], its words: part, flags,
// offset, bytes, epoch. They are there for the courier all at once.
void putPieces(const Napi::CallbackInfo& info) {
  const Shm& shm = ExitRing::unwrap(info, info[0])->seen(info).shm;
  const auto pieces = info[1].As<Napi::Array>();
  const Shm::State& ring = shm.state();
  auto* memory = const_cast<uint8_t*>(ring.data);
  uint64_t head = loadRelaxed(ring.cursors->head);
  const auto put = [&](const void* from, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) {
      memory[head++ & (ring.bytes - 1)] = static_cast<const uint8_t*>(from)[i];
    }
  };
  for (uint32_t i = 0; i < pieces.Length(); i++) {
    const auto given = pieces.Get(i).As<Napi::Array>();
    const uint64_t* words = argWords(info, given.Get(0u), "words", 5);
    const Napi::Value of = given.Get(1u);
    const Bytes data = of.IsNull() ? Bytes{nullptr, 0} : argBytes(info, of, "data");
    const struct exitlog_piece piece{static_cast<uint32_t>(words[0]),
                                     static_cast<uint32_t>(words[1]), words[2], words[3],
                                     words[4]};
    put(&piece, sizeof piece);
    put(data.data, data.length);
    head = (head + 7) & ~uint64_t{7};
  }
  storeRelease(ring.cursors->head, head);
}

}  // namespace exitlog
