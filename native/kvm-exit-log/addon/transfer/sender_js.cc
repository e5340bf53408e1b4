// SPDX-License-Identifier: Apache-2.0
#include "transfer/sender_js.h"

#include <utility>

namespace exitlog {

namespace {

// An array of BigInts is what the peer has; undefined: nothing.
FileReader::Hashes argHashes(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Value value = info[index];
  if (value.IsUndefined()) return std::nullopt;
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array) {
    badType(info, "have", "a BigUint64Array");
  }
  auto array = value.As<Napi::BigUint64Array>();
  return std::vector<uint64_t>(array.Data(), array.Data() + array.ElementLength());
}

}  // namespace

Napi::Function JsStateSender::define(Napi::Env env) {
  return DefineClass(env, "StateSender",
                     {InstanceMethod<&JsStateSender::send>("send"),
                      InstanceMethod<&JsStateSender::pieces>("pieces"),
                      InstanceMethod<&JsStateSender::close>("close")});
}

JsStateSender::JsStateSender(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<JsStateSender>(info), self_(std::make_shared<Self>(Self{this})),
      link_(nullptr) {
  JsLink* link = JsLink::unwrap(info, info[0]);
  if (!info[1].IsFunction()) badType(info, "callback", "a function");
  guard(info.Env(), [&] { link->feedBy(this); });
  link_ = link;
  linkObject_ = Napi::Persistent(link->Value());
  callback_ = JsCallback(info[1].As<Napi::Function>(), info.This().As<Napi::Object>(),
                         "understudy:StateSender");
}

// Idempotent.
void JsStateSender::release() {
  self_->sender = nullptr;
  if (link_ != nullptr) link_->feedBy(nullptr);
  link_ = nullptr;
  stop();
  linkObject_.Reset();
  callback_.reset();
}

void JsStateSender::stop() {
  reader_.reset();
  ready_.clear();
  spare_.clear();
}

// Whoever closed it knows that nothing comes of what is being sent.
void JsStateSender::linkGone() {
  link_ = nullptr;
  stop();
}

// send(part, path, blockBytes, have?): one after the other
void JsStateSender::send(const Napi::CallbackInfo& info) {
  const auto part = static_cast<uint32_t>(argInteger(info, info[0], "part", 0, UINT32_MAX));
  std::string path = argString(info, 1, "path");
  const uint64_t bytes = argInteger(info, info[2], "blockBytes", 4096, Chunk::kDataBytes);
  if (bytes % 4096 != 0) badRange(info, "blockBytes", "a multiple of 4096");
  FileReader::Hashes have = argHashes(info, 3);
  guard(info.Env(), [&] {
    if (reader_) throw RingError("ERR_RING_STATE", "a file is being sent");
    if (link_ == nullptr) return;
    reader_ = std::make_shared<FileReader>(std::move(path), part, std::move(have),
                                           static_cast<size_t>(bytes), pieces_);
    readAhead();
  });
}

void JsStateSender::readAhead() {
  if (!reader_ || isReading_ || reader_->isOver() || ready_.size() >= kChunksMax) return;
  ChunkPtr chunk;
  if (spare_.empty()) {
    chunk = std::make_unique<Chunk>();
  } else {
    chunk = std::move(spare_.back());
    spare_.pop_back();
  }
  isReading_ = true;
  Chunk* into = chunk.get();
  inPool(
      Env(), "understudy:readState", [reader = reader_, into] { reader->read(*into); },
      [self = self_, chunk = std::move(chunk)](const Failure& failure) mutable {
        if (self->sender != nullptr) self->sender->wasRead(std::move(chunk), failure);
      });
}

void JsStateSender::wasRead(ChunkPtr chunk, const Failure& failure) {
  isReading_ = false;
  if (!reader_) return;
  [[maybe_unused]] const Napi::Object alive = Value();
  if (failure.code != nullptr) {
    stop();
    const Napi::Env env = Env();
    callback_.call({Napi::String::New(env, "failed"), Napi::String::New(env, failure.code),
                    Napi::String::New(env, failure.message)});
    return;
  }
  pieces_ = reader_->ordinal();
  ready_.push_back(std::move(chunk));
  readAhead();
  sendChunks();
}

void JsStateSender::hasRoom() { sendChunks(); }

// A callback may close us.
void JsStateSender::sendChunks() {
  const Napi::Env env = Env();
  [[maybe_unused]] const Napi::Object alive = Value();
  while (link_ != nullptr && !ready_.empty() && link_->isFree()) {
    ChunkPtr chunk = std::move(ready_.front());
    ready_.pop_front();
    for (const Chunk::Slice& slice : chunk->slices()) link_->feed(slice.bytes, slice.count);
    link_->arm();
    const auto upTo = static_cast<double>(chunk->upTo);
    spare_.push_back(std::move(chunk));
    callback_.call({Napi::String::New(env, "sent"), Napi::Number::New(env, upTo)});
    readAhead();
  }
  if (!reader_ || isReading_ || !ready_.empty() || !reader_->isOver()) return;
  reader_.reset();
  callback_.call({Napi::String::New(env, "done")});
}

// pieces(): so many frames were made
Napi::Value JsStateSender::pieces(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), pieces_);
}

void JsStateSender::close(const Napi::CallbackInfo&) { release(); }

}  // namespace exitlog
