// SPDX-License-Identifier: Apache-2.0
// Sends files of a VM's state over a link as STATE frames: read and framed by a thread of
// the pool, sent by the event loop whenever nothing else waits to be sent, so that a
// heartbeat is behind one chunk at most.
//
// Memory: kChunksMax chunks of a megabyte, and what the link has of one.
#pragma once

#include <napi.h>

#include <deque>
#include <memory>
#include <vector>

#include "bits/js_callback.h"
#include "link/link_js.h"
#include "transfer/file_reader.h"
#include "transfer/pool_work.h"

namespace exitlog {

// The native half of state.ts's StateSender. new StateSender(link, callback): the callback
// gets ('sent', bytes of the file so far), ('done') or ('failed', code, message).
class JsStateSender final : public Napi::ObjectWrap<JsStateSender>, public Feeder {
 public:
  static Napi::Function define(Napi::Env env);
  explicit JsStateSender(const Napi::CallbackInfo& info);
  ~JsStateSender() override { release(); }

 private:
  static constexpr size_t kChunksMax = 4;
  using ChunkPtr = std::unique_ptr<Chunk>;
  // What a work in the pool knows of us: null when we are gone.
  struct Self {
    JsStateSender* sender;
  };

  void hasRoom() override;
  void linkGone() override;
  void readAhead();
  void wasRead(ChunkPtr chunk, const Failure& failure);
  void sendChunks();
  void stop();
  void release();

  void send(const Napi::CallbackInfo& info);
  Napi::Value pieces(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<Self> self_;
  JsLink* link_;  // null: over
  Napi::ObjectReference linkObject_;
  JsCallback callback_;
  std::shared_ptr<FileReader> reader_;  // null: nothing is being sent
  bool isReading_ = false;
  std::deque<ChunkPtr> ready_;
  std::vector<ChunkPtr> spare_;
  uint64_t pieces_ = 0;
};

}  // namespace exitlog
