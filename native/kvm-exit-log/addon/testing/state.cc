// SPDX-License-Identifier: Apache-2.0
#include "testing/state.h"

#include <cstring>
#include <vector>

#include "bits/args.h"
#include "bits/patch.h"
#include "bits/result.h"
#include "state/intake.h"
#include "state/packed.h"
#include "state/piece.h"

namespace exitlog {

namespace {

// stateFrame(ordinal, part, offset, bytes, data?, epoch?, isPatch?, isPacked?): without data it is
// all zero
Napi::Value stateFrame(const Napi::CallbackInfo& info) {
  Piece piece{argU64(info, info[0], "ordinal"),
              static_cast<uint32_t>(argInteger(info, info[1], "part", 0, UINT32_MAX)),
              argU64(info, info[2], "offset"), argU64(info, info[3], "bytes"), nullptr};
  std::vector<uint8_t> frame(sizeof(StateHead));
  if (!info[4].IsUndefined()) {
    const Bytes data = argBytes(info, info[4], "data");
    frame.insert(frame.end(), data.data, data.data + data.length);
    frame.resize(frame.size() + 8);
    piece.data = frame.data() + sizeof(StateHead);
    const bool isPatch = !info[6].IsUndefined() && info[6].As<Napi::Boolean>().Value();
    piece.isPacked = !info[7].IsUndefined() && info[7].As<Napi::Boolean>().Value();
    if (isPatch) piece.patchBytes = data.length;
    else piece.bytes = data.length;
  }
  if (!info[5].IsUndefined()) piece.epoch = argU64(info, info[5], "epoch");
  frame.resize(sealPiece(frame.data(), piece));
  return Napi::Buffer<uint8_t>::Copy(info.Env(), frame.data(), frame.size());
}

// patchOf(before, now): `before` is the same afterwards
Napi::Value patchOf(const Napi::CallbackInfo& info) {
  const Bytes before = argBytes(info, info[0], "before");
  const Bytes now = argBytes(info, info[1], "now");
  if (before.length != now.length || now.length % kPageBytes != 0) {
    badRange(info, "now", "as many whole pages");
  }
  // A benchmark makes many.
  static thread_local std::vector<uint8_t> patch;
  const size_t room = now.length / kPageBytes * kPatchPageBytesMax;
  if (patch.size() < room) patch.resize(room);
  PatchWriter writer;
  writer.begin(patch.data());
  for (size_t at = 0; at < now.length; at += kPageBytes) {
    writer.difference(now.data + at, const_cast<uint8_t*>(before.data) + at);
  }
  return Napi::Buffer<uint8_t>::Copy(info.Env(), patch.data(), writer.bytes());
}

// pack(data)
Napi::Value packJs(const Napi::CallbackInfo& info) {
  const Bytes data = argBytes(info, info[0], "data");
  std::vector<uint8_t> packed(data.length);
  const uint64_t bytes = Packer().pack(data.data, data.length, packed.data());
  return Napi::Buffer<uint8_t>::Copy(info.Env(), packed.data(), bytes);
}

// applyPatch(memory, patch)
void applyPatch(const Napi::CallbackInfo& info) {
  const Bytes memory = argBytes(info, info[0], "memory");
  const Bytes patch = argBytes(info, info[1], "patch");
  guard(info.Env(), [&] {
    readPatch(patch.data, patch.length, memory.length,
              [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
                memcpy(const_cast<uint8_t*>(memory.data) + at, bytes, count);
              });
  });
}

// new Intake()
class SimIntake : public Napi::ObjectWrap<SimIntake> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Intake",
                       {InstanceMethod<&SimIntake::add>("add"),
                        InstanceMethod<&SimIntake::take>("take"),
                        InstanceMethod<&SimIntake::end>("end")});
  }
  explicit SimIntake(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SimIntake>(info) {}

 private:
  // add(bytes, isWhole): the part's number
  Napi::Value add(const Napi::CallbackInfo& info) {
    const uint64_t bytes = argInteger(info, info[0], "bytes", 0, 1ull << 53);
    const bool isWhole = info[1].As<Napi::Boolean>().Value();
    const auto covers = isWhole ? Intake::Covers::whole : Intake::Covers::some;
    return Napi::Number::New(info.Env(), intake_.add(bytes, covers));
  }
  // take(frame): the piece. Throws what ends the transfer, with a code.
  Napi::Value take(const Napi::CallbackInfo& info) {
    return guard(info.Env(), [&]() -> Napi::Value {
      const Bytes frame = argBytes(info, info[0], "frame");
      const Piece piece = intake_.take(frame.data, frame.length);
      Napi::Object taken = Result(info.Env())
                               .u64("ordinal", piece.ordinal)
                               .number("part", piece.part)
                               .u64("offset", piece.offset)
                               .u64("bytes", piece.bytes)
                               .object();
      taken.Set("data", piece.data == nullptr
                            ? info.Env().Null()
                            : Napi::Buffer<uint8_t>::Copy(info.Env(), piece.data, piece.bytes));
      return taken;
    });
  }
  // end(pieces): throws as `take` does
  void end(const Napi::CallbackInfo& info) {
    guard(info.Env(), [&] { intake_.end(argU64(info, info[0], "pieces")); });
  }
  Intake intake_;
};

}  // namespace

void addState(Napi::Env env, Napi::Object door) {
  door.Set("stateFrame", Napi::Function::New<stateFrame>(env, "stateFrame"));
  door.Set("pack", Napi::Function::New<packJs>(env, "pack"));
  door.Set("patchOf", Napi::Function::New<patchOf>(env, "patchOf"));
  door.Set("applyPatch", Napi::Function::New<applyPatch>(env, "applyPatch"));
  door.Set("Intake", SimIntake::define(env));
}

}  // namespace exitlog
