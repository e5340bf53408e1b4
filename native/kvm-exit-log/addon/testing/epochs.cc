// SPDX-License-Identifier: Apache-2.0
#include "testing/epochs.h"

#include <memory>

#include "bits/args.h"
#include "image/image.h"
#include "ring/exit_ring.h"
#include "ring/state_ring.h"

namespace exitlog {

namespace {

class Epochs final : public Napi::ObjectWrap<Epochs> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Epochs", {InstanceMethod<&Epochs::take>("take"),
                                       InstanceMethod<&Epochs::digest>("digest"),
                                       InstanceMethod<&Epochs::facts>("facts")});
  }

  // Epochs(ring)
  explicit Epochs(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Epochs>(info), holder_(Napi::Persistent(info[0].As<Napi::Object>())),
        ring_(ExitRing::unwrap(info, info[0])->seen(info).shm) {}

 private:
  // take(into): the next epoch's number, CHECKPOINT's ordinal, digest of memory, bytes of
  // state; false: it is not whole yet
  Napi::Value take(const Napi::CallbackInfo& info) {
    uint64_t* into = argWords(info, info[0], "into", 4);
    return guard(info.Env(), [&]() -> Napi::Value {
      StateRing::Piece piece;
      while (ring_.next(piece)) {
        bytes_ += sizeof piece.head + (piece.data == nullptr ? 0 : piece.head.bytes);
        if (piece.head.part != EXITLOG_PART_END) {
          image_.stage(piece.head, piece.data);
          continue;
        }
        into[0] = image_.commit();
        into[1] = piece.head.offset;
        into[2] = image_.ramDigest();
        into[3] = bytes_;
        bytes_ = 0;
        return Napi::Boolean::New(info.Env(), true);
      }
      return Napi::Boolean::New(info.Env(), false);
    });
  }

  // digest(): of the memory as it is
  Napi::Value digest(const Napi::CallbackInfo& info) {
    return Napi::BigInt::New(info.Env(), image_.ramDigest());
  }

  // facts(): what the blocks are called, and how long they are
  Napi::Value facts(const Napi::CallbackInfo& info) {
    Napi::Array all = Napi::Array::New(info.Env());
    for (const Image::Block& block : image_.blocks()) {
      Napi::Array one = Napi::Array::New(info.Env());
      one.Set(0u, Napi::String::New(info.Env(), block.name));
      one.Set(1u, Napi::Number::New(info.Env(), static_cast<double>(block.used)));
      all.Set(all.Length(), one);
    }
    return all;
  }

  Napi::ObjectReference holder_;
  StateRing ring_;
  Image image_;
  uint64_t bytes_ = 0;
};

}  // namespace

Napi::Function defineEpochs(Napi::Env env) { return Epochs::define(env); }

// putPiece(ring, words, data): what QEMU would put; words: part, flags, offset, bytes, epoch
void putPiece(const Napi::CallbackInfo& info) {
  const Shm& shm = ExitRing::unwrap(info, info[0])->seen(info).shm;
  const uint64_t* words = argWords(info, info[1], "words", 5);
  const bool hasData = !info[2].IsNull();
  const Bytes data = hasData ? argBytes(info, info[2], "data") : Bytes{nullptr, 0};
  const struct exitlog_piece piece{static_cast<uint32_t>(words[0]),
                                   static_cast<uint32_t>(words[1]), words[2], words[3], words[4]};
  const Shm::State& ring = shm.state();
  auto* memory = const_cast<uint8_t*>(ring.data);
  uint64_t head = loadRelaxed(ring.cursors->head);
  const auto put = [&](const void* from, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) {
      memory[head++ & (ring.bytes - 1)] = static_cast<const uint8_t*>(from)[i];
    }
  };
  put(&piece, sizeof piece);
  put(data.data, data.length);
  storeRelease(ring.cursors->head, (head + 7) & ~uint64_t{7});
}

}  // namespace exitlog
