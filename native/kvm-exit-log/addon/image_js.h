// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "image/disk_journal.h"
#include "image/hand_over.h"
#include "image/image.h"
#include "image/memory.h"

namespace exitlog {

// The native half of image.ts's Image: new Image(memoryBytes, disks, durable).
class JsImage final : public Napi::ObjectWrap<JsImage> {
 public:
  static Napi::Function define(Napi::Env env);
  // The image in a value. Throws TypeError.
  static std::shared_ptr<Image> unwrap(const Napi::CallbackInfo& info, const Napi::Value& value);
  explicit JsImage(const Napi::CallbackInfo& info);

 private:
  struct Parts {
    Parts(uint64_t bytes, const std::vector<std::string>& paths, bool durable, uint64_t staged)
        : memory(bytes), disks(paths, durable), image(&memory, &disks, staged) {}
    ImageMemory memory;
    DiskJournal disks;
    Image image;
    HandOver rest;
  };
  Napi::Value memoryFd(const Napi::CallbackInfo& info);
  Napi::Value restFd(const Napi::CallbackInfo& info);
  void release(const Napi::CallbackInfo& info);
  const Parts& live(const Napi::CallbackInfo& info) const;
  std::shared_ptr<Parts> parts_;
};

// redoDisks(images): what was found, or null
Napi::Value redoDisksJs(const Napi::CallbackInfo& info);

}  // namespace exitlog
