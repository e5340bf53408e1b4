// SPDX-License-Identifier: Apache-2.0
// What the addon exports. Nothing is global: each environment has its own class.
#include <napi.h>

#include "bits/args.h"
#include "bits/checksum.h"
#include "bits/host_clock.h"
#include "courier_js.h"
#include "image_js.h"
#include "link/keys_js.h"
#include "link/link_js.h"
#include "link/listener_js.h"
#include "quorum_js.h"
#include "ring/exit_ring.h"
#include "ring/tap.h"
#include "store/apply_disk.h"
#include "store/hash_file.h"
#include "state/piece.h"
#include "store/holes.h"
#include "testing/testing.h"
#include "transfer/receiver_js.h"
#include "transfer/sender_js.h"

namespace exitlog {

namespace {

// checkFrame(buffer, offset, available): bytes of the whole frame
Napi::Value checkFrame(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Bytes bytes = argSlice(info, 0, "buffer", true);
    const FrameView frame = readFrame(bytes.data, bytes.length);
    if (frame.prefix.type == kFrameBatch) {
      readBatch(frame);
    } else if (frame.prefix.type == kFrameState) {
      readPiece(bytes.data, bytes.length);
    } else {
      checkControl(frame);
    }
    return Napi::Number::New(info.Env(), static_cast<double>(frame.totalBytes));
  });
}

// sealControl(frame): writes checksum and crc of a control message in place
void sealControl(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] {
    const Bytes bytes = argBytes(info, info[0], "frame");
    if (bytes.length < sizeof(FramePrefix) + 24) {
      throw RangeFault("a control frame has at least 40 bytes");
    }
    uint8_t* body = bytes.data + sizeof(FramePrefix);
    const uint64_t checksum = controlChecksum(body, bytes.length - sizeof(FramePrefix));
    memcpy(body + 16, &checksum, sizeof checksum);
    const uint32_t crc = crc32(bytes.data, offsetof(FramePrefix, crc));
    memcpy(bytes.data + offsetof(FramePrefix, crc), &crc, sizeof crc);
    checkControl(readFrame(bytes.data, bytes.length));
  });
}

// charOut(frame, offset, length, channel): the payloads of CHAR_OUT, joined;
// channel -1 is all of them.
Napi::Value charOut(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Bytes bytes = argSlice(info, 0, "frame", true);
    if (!info[3].IsNumber()) badType(info, "channel", "a number");
    const int64_t channel = info[3].As<Napi::Number>().Int64Value();
    const BatchView batch = readBatch(readFrame(bytes.data, bytes.length));
    std::vector<uint8_t> joined;
    joinCharOut(batch, channel, joined);
    return Napi::Buffer<uint8_t>::Copy(info.Env(), joined.data(), joined.size());
  });
}

// xxh64(data, seed): bigint
Napi::Value hashBytes(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Bytes bytes = argBytes(info, info[0], "data");
    const uint64_t seed = argU64(info, info[1], "seed");
    return Napi::BigInt::New(info.Env(), xxh64(bytes.data, bytes.length, seed));
  });
}

// kinds: [{ name, kind, hasPayload }], as exitlog_abi.h has them
Napi::Array kinds(Napi::Env env) {
  Napi::Array all = Napi::Array::New(env);
  const auto add = [&](const char* name, uint16_t kind) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("name", name);
    one.Set("kind", static_cast<uint32_t>(kind));
    one.Set("hasPayload", kindHasPayload(kind));
    all.Set(all.Length(), one);
  };
#define EXITLOG_ADD(name, ordinal, payload) add(#name, ordinal);
  EXITLOG_KINDS(EXITLOG_ADD)
#undef EXITLOG_ADD
  return all;
}

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const Napi::Function ring = ExitRing::define(env);
  env.SetInstanceData(new Napi::FunctionReference(Napi::Persistent(ring)));
  exports.Set("ExitRing", ring);
  exports.Set("Keys", JsKeys::define(env));
  exports.Set("Link", JsLink::define(env));
  exports.Set("Listener", JsListener::define(env));
  exports.Set("Courier", JsCourier::define(env));
  exports.Set("Image", JsImage::define(env));
  exports.Set("StateSender", JsStateSender::define(env));
  exports.Set("StateReceiver", JsStateReceiver::define(env));
  exports.Set("Replica", JsReplica::define(env));
  exports.Set("replicaEvents", JsReplica::words(env));
  exports.Set("courierWords", JsCourier::words(env));
  exports.Set("kinds", kinds(env));
  exports.Set("checkFrame", Napi::Function::New<checkFrame>(env, "checkFrame"));
  exports.Set("sealControl", Napi::Function::New<sealControl>(env, "sealControl"));
  exports.Set("charOut", Napi::Function::New<charOut>(env, "charOut"));
  exports.Set("xxh64", Napi::Function::New<hashBytes>(env, "xxh64"));
  exports.Set("applyDisk", Napi::Function::New<applyDisk>(env, "applyDisk"));
  exports.Set("zeroRange", Napi::Function::New<zeroRangeJs>(env, "zeroRange"));
  exports.Set("dataRanges", Napi::Function::New<dataRanges>(env, "dataRanges"));
  exports.Set("redoDisks", Napi::Function::New<redoDisksJs>(env, "redoDisks"));
  exports.Set("hashFile", Napi::Function::New<hashFile>(env, "hashFile"));
  exports.Set("hashBlocks", Napi::Function::New<hashBlocks>(env, "hashBlocks"));
  exports.Set("hostClock", Napi::Function::New<hostClock>(env, "hostClock"));
  exports.Set("openTap", Napi::Function::New<openTap>(env, "openTap"));
  exports.Set("testing", testing(env));
  return exports;
}

}  // namespace exitlog

static Napi::Object InitModule(Napi::Env env, Napi::Object exports) {
  return exitlog::init(env, exports);
}
NODE_API_MODULE(kvm_exit_log, InitModule)
