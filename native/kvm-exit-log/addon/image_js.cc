// SPDX-License-Identifier: Apache-2.0
#include "image_js.h"

#include <string>
#include <vector>

#include "bits/args.h"
#include "image/redo.h"

namespace exitlog {

namespace {

constexpr napi_type_tag kImageTag{0x7d0c52e9a81b4f36, 0xb1e6403f9c27d85a};
constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 44;
constexpr uint64_t kStagedBytesMax = uint64_t{1} << 48;

}  // namespace

Napi::Function JsImage::define(Napi::Env env) {
  return DefineClass(env, "Image", {InstanceMethod<&JsImage::memoryFd>("memoryFd"),
                                    InstanceMethod<&JsImage::restFd>("restFd"),
                                    InstanceMethod<&JsImage::release>("release")});
}

// Image(memoryBytes, disks, durable, stagedBytesMax): zeros, and the disks as they are
JsImage::JsImage(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsImage>(info) {
  info.This().As<Napi::Object>().TypeTag(&kImageTag);
  const uint64_t bytes = argInteger(info, info[0], "memoryBytes", 4096, kMemoryBytesMax);
  const std::vector<std::string> paths = argStrings(info, info[1], "disks");
  if (!info[2].IsBoolean()) badType(info, "durable", "a boolean");
  const bool durable = info[2].As<Napi::Boolean>().Value();
  const uint64_t staged = argInteger(info, info[3], "stagedBytesMax", 0, kStagedBytesMax);
  guard(info.Env(), [&] { parts_ = std::make_shared<Parts>(bytes, paths, durable, staged); });
}

std::shared_ptr<Image> JsImage::unwrap(const Napi::CallbackInfo& info, const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kImageTag)) {
    badType(info, "image", "an Image");
  }
  JsImage* self = Napi::ObjectWrap<JsImage>::Unwrap(value.As<Napi::Object>());
  self->live(info);
  return {self->parts_, &self->parts_->image};
}

const JsImage::Parts& JsImage::live(const Napi::CallbackInfo& info) const {
  if (!parts_) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), "the image is released"),
                   "ERR_RING_STATE");
  }
  return *parts_;
}

// memoryFd(): for the QEMU that waits beside it to inherit
Napi::Value JsImage::memoryFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), live(info).memory.fd());
}

// restFd(): for that QEMU too, and for handOver()
Napi::Value JsImage::restFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), live(info).rest.fd());
}

// release(): whoever receives into it has it still
void JsImage::release(const Napi::CallbackInfo&) { parts_.reset(); }

Napi::Value redoDisksJs(const Napi::CallbackInfo& info) {
  const std::vector<std::string> images = argStrings(info, info[0], "images");
  return guard(info.Env(), [&]() -> Napi::Value {
    const Redone redone = redoDisks(images);
    if (!redone.found) return info.Env().Null();
    Napi::Object found = Napi::Object::New(info.Env());
    found.Set("epochs", Napi::Number::New(info.Env(), static_cast<double>(redone.epochs)));
    found.Set("last", Napi::Number::New(info.Env(), static_cast<double>(redone.last)));
    found.Set("dropped", Napi::Boolean::New(info.Env(), redone.dropped));
    return found;
  });
}

}  // namespace exitlog
